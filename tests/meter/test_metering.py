"""One turn of the meter, without an API server and without a ledger."""

import asyncio
from typing import Any

from helpers.meter.told import created, node, recorded
from tally.meter.apiserver import Answer
from tally.meter.clusterclock import ClusterClock
from tally.meter.health import Health
from tally.meter.metering import Meter
from tally.meter.writing import Unwritten

SECOND = 10**6


def test_what_the_watch_tells_is_an_answer_of_the_api_server() -> None:
    """Else a pod that ended without saying when would have ended before it began."""
    pod, monotonic = recorded("exit-3"), [0.0]
    for status in pod["status"]["containerStatuses"]:
        status["state"] = {"waiting": {}}
    began = created(pod)
    health = Health()
    api: Any = None  # it is not asked
    meter = Meter(api, ClusterClock(lambda: monotonic[0]), health, Unwritten(health))
    meter.hear(Answer({}, began // SECOND - 1, 0.0, 0.0))
    monotonic[0] = 10.0
    meter.tell("node", node(), False)
    meter.tell("pod", pod, False)
    asyncio.run(meter.turn())
    rows = meter.unwritten.take().usage.values()
    assert max(row.stop_microseconds for row in rows) == meter.clock.now_microseconds()
