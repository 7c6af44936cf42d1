"""The cluster's time: the API server's Date header, carried on by the monotonic clock. Pure.

What is billed begins and ends at times that Kubernetes wrote, so "now" has to be on the same clock:
a meter whose own wall clock is wrong, or is set in mid-run, must not change a bill.
"""

import math
from collections.abc import Callable

from tally.errors import RunError

_DRIFT = 1e-4  # two clocks go apart by less: 100 parts in a million
_SETTLED_SECONDS = 0.05


class ClusterClock:
    """Wall time of the API server as an offset from the monotonic clock, within bounds.

    A Date header is cut to whole seconds: one answer says when it was to a second and the time
    that it took. Each further one narrows that, most of all when it is asked for at the moment
    whose second is in doubt (`next_seconds`).
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Knows nothing yet.

        Args:
            monotonic: seconds.
        """
        self._monotonic = monotonic
        self._low = self._high = math.nan
        self._learnt_at = math.nan

    @property
    def is_known(self) -> bool:
        """Whether there was an answer."""
        return not math.isnan(self._low)

    @property
    def doubt_seconds(self) -> float:
        """How far apart the bounds are; infinite before the first answer."""
        return self._high - self._low if self.is_known else math.inf

    def learn(self, date_seconds: int, sent_seconds: float, received_seconds: float) -> None:
        """Take in one answer.

        Args:
            date_seconds: its Date header.
            sent_seconds, received_seconds: when it was asked and answered, monotonic.
        """
        low, high = date_seconds - received_seconds, date_seconds + 1 - sent_seconds
        if self.is_known:
            slack = _DRIFT * max(0.0, received_seconds - self._learnt_at)
            low, high = max(low, self._low - slack), min(high, self._high + slack)
            if low >= high:  # the API server's own clock was set, or another server answered
                low, high = date_seconds - received_seconds, date_seconds + 1 - sent_seconds
        self._low, self._high, self._learnt_at = low, high, received_seconds

    def now_microseconds(self) -> int:
        """Microseconds since the epoch (UTC).

        Raises:
            RunError: the API server has not answered yet.
        """
        return self.at_microseconds(self._monotonic())

    def at_microseconds(self, monotonic_seconds: float) -> int:
        """The same, of another moment of the monotonic clock.

        Raises:
            RunError: the API server has not answered yet.
        """
        if not self.is_known:
            raise RunError(
                "the meter: expected the API server's Date, got no answer yet; look at the cluster"
            )
        return round((monotonic_seconds + (self._low + self._high) / 2) * 1e6)

    def next_seconds(self, usual_seconds: float) -> float:
        """How long to wait before the next request: the usual time when the bounds are close, else
        until a second of the server's clock begins by the middle of the bounds, which halves them.
        """
        if not self.is_known:
            return 1.0
        now = self._monotonic()
        if self.doubt_seconds <= _SETTLED_SECONDS:
            return usual_seconds
        server = now + (self._low + self._high) / 2
        return math.ceil(server) - server or 1.0
