"""How far a node's clock is from the API server's, and its pods' times without that. Pure.

A pod's creation and the moment at which it got its node are the API server's; its start and all
that its containers did are the kubelet's, by the node's clock. A kubelet takes a pod up within a
second or so of its getting the node, and tells nothing before it was: so times that cannot be so
(taken up before it was placed, or told of before they came) say by how much the clock is off.
"""

import datetime
from collections.abc import Iterator
from typing import Any

from tally.kube.quantities import microseconds
from tally.kube.template import Object

LEAST_MICROSECONDS = 2 * 10**6
"""By which times must contradict one another: they are whole seconds, and no clock is exact."""

_TAKEN_UP_MICROSECONDS = 10 * 10**6  # what is beyond that may have been a kubelet that was away
_TIMES = ("startTime", "startedAt", "finishedAt", "lastTransitionTime")
_OF_SERVER = ("PodScheduled", "DisruptionTarget")


def skew_microseconds(pod: Object, seen_microseconds: int) -> int:
    """How far the clock of a pod's node is ahead of the API server's; below 0 where it is behind.

    Args:
        pod: as the API server shows it.
        seen_microseconds: when it did so first, by its own clock.

    Returns:
        0 where no time contradicts another.
    """
    status = pod.get("status") or {}
    taken, placed = microseconds(status.get("startTime")), _placed(status)
    told = [moment for moment in map(microseconds, _times(status)) if moment]
    ahead = max(told, default=0) - seen_microseconds
    if taken is not None and placed is not None and placed - taken >= LEAST_MICROSECONDS:
        return taken - placed
    if ahead < LEAST_MICROSECONDS:
        return 0
    if taken is None or placed is None:
        return ahead
    return max(ahead, min(taken - placed, ahead + _TAKEN_UP_MICROSECONDS))


def by_the_servers(pod: Object, skew: int) -> Object:
    """The pod with the kubelet's times as the API server's clock would have told them."""
    status = pod.get("status")
    return {**pod, "status": _shifted(status, skew)} if skew and status else pod


def _placed(status: Object) -> int | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "True":
            return microseconds(condition.get("lastTransitionTime"))
    return None


def _times(thing: Any, name: str = "") -> Iterator[str]:
    """All times in it that the kubelet tells."""
    if isinstance(thing, dict):
        if thing.get("type") not in _OF_SERVER:
            for key, value in thing.items():
                yield from _times(value, key)
    elif isinstance(thing, list):
        for one in thing:
            yield from _times(one)
    elif thing and name in _TIMES:
        yield thing


def _shifted(thing: Any, skew: int, name: str = "") -> Any:
    """The same with each of these times so much earlier."""
    if isinstance(thing, dict):
        if thing.get("type") in _OF_SERVER:
            return thing
        return {key: _shifted(value, skew, key) for key, value in thing.items()}
    if isinstance(thing, list):
        return [_shifted(one, skew) for one in thing]
    if name not in _TIMES or microseconds(thing) is None:
        return thing
    moment = datetime.datetime.fromisoformat(thing) - datetime.timedelta(microseconds=skew)
    return moment.isoformat()
