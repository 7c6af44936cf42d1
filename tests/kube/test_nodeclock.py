"""How far a node's clock is off, from what its pods say of themselves."""

from typing import Any

import pytest

from helpers.meter.told import moment
from tally.kube.nodeclock import by_the_servers, skew_microseconds

SECOND = 10**6
PLACED = moment("2026-12-01T10:00:01Z")


def pod(taken: str, started: str, **more: Any) -> dict[str, Any]:
    placed = {
        "type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-12-01T10:00:01Z",
    }  # fmt: skip
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": started}
    state = {"running": {"startedAt": started}}
    return {
        "status": {
            "startTime": taken,
            "conditions": [placed, ready],
            "containerStatuses": [{"name": "main", "state": state}],
            **more,
        }
    }


@pytest.mark.parametrize(
    ("taken", "started", "seen_seconds", "skew_seconds"),
    [
        ("2026-12-01T10:00:01Z", "2026-12-01T10:00:03Z", 3, 0),
        ("2026-12-01T10:00:00Z", "2026-12-01T10:00:02Z", 2, 0),  # whole seconds say no more
        ("2026-12-01T09:55:01Z", "2026-12-01T09:55:03Z", 3, -300),
        ("2026-12-01T10:05:01Z", "2026-12-01T10:05:02Z", 2, 300),
        # the kubelet was away for five minutes, and its clock is right
        ("2026-12-01T10:05:01Z", "2026-12-01T10:05:03Z", 304, 0),
        # it was away, and its clock is a minute ahead
        ("2026-12-01T10:06:01Z", "2026-12-01T10:06:03Z", 304, 68),
    ],
)
def test_only_times_that_cannot_be_say_that_it_is_off(
    taken: str, started: str, seen_seconds: int, skew_seconds: int
) -> None:
    skew = skew_microseconds(pod(taken, started), PLACED + seen_seconds * SECOND)
    assert skew == skew_seconds * SECOND


def test_the_servers_own_times_stay() -> None:
    told = pod("2026-12-01T10:05:01Z", "2026-12-01T10:05:03Z", phase="Running")
    status = by_the_servers(told, 300 * SECOND)["status"]
    assert moment(status["startTime"]) == PLACED
    scheduled, ready = status["conditions"]
    assert moment(scheduled["lastTransitionTime"]) == PLACED
    assert moment(ready["lastTransitionTime"]) == PLACED + 2 * SECOND
    running = status["containerStatuses"][0]["state"]["running"]
    assert moment(running["startedAt"]) == PLACED + 2 * SECOND
    assert status["phase"] == "Running"
    assert by_the_servers(told, 0) is told


def test_a_pod_that_tells_nothing_yet_says_nothing() -> None:
    assert skew_microseconds({}, PLACED) == 0
    assert skew_microseconds({"status": {"phase": "Pending"}}, PLACED) == 0
