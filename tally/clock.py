"""One clock for all processes of a run.

A run's processes share an offset from wall time to the machine's monotonic clock, taken once by
submit. So a wall clock that is stepped in mid-run (NTP, suspend) neither stretches an interval nor
makes one negative, and intervals written by different processes line up.
"""

import os
import time

ENVIRONMENT = "TALLY_CLOCK_OFFSET_MICROSECONDS"


def _offset() -> int:
    given = os.environ.get(ENVIRONMENT)
    return int(given) if given else (time.time_ns() - time.monotonic_ns()) // 1000


OFFSET_MICROSECONDS = _offset()
"""Wall time less monotonic time: the run's if one is set, else as of this process's start."""


def now_microseconds() -> int:
    """Microseconds since the epoch (UTC) on the run's clock."""
    return time.monotonic_ns() // 1000 + OFFSET_MICROSECONDS
