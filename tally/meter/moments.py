"""Which times may be posted: those of the pod's own life, and those of the run's. Pure.

Clocks of a cluster's machines are seconds apart, and Kubernetes tells whole seconds: an interval
is cut to its pod's life, an event is refused only where its time cannot be an honest clock's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tally.costing.usage import Usage
from tally.meter.posts import PostedUsage
from tally.meter.refusal import Refusal

APART_MICROSECONDS = 5 * 10**6
"""So far ahead a conductor's clock may be while its worker's pod lasts."""

AHEAD_MICROSECONDS = 60 * 10**6
BEFORE_MICROSECONDS = 24 * 3600 * 10**6
"""So far from now, and from the beginning of its run, an event or a quote may be."""


@dataclass(frozen=True, slots=True)
class Life:
    """A pod's time on its node, as the meter wrote it.

    Attributes:
        row: the newest of its rows there.
        start_microseconds, end_microseconds: of all of them, UTC; the end is None while it lasts.
    """

    row: Usage
    start_microseconds: int
    end_microseconds: int | None


def lives_of(rows: Iterable[Usage], run_id: str, namespace: str) -> dict[str, Life]:
    """Lives by uid of those pods of the run that have had a node."""
    by_pod: dict[str, list[Usage]] = {}
    for row in rows:
        own = row.source == "pod" and row.run_id == run_id and row.namespace == namespace
        if own and row.phase != "queue" and row.node_uid:
            by_pod.setdefault(row.pod_uid, []).append(row)
    return {uid: _life(placed) for uid, placed in by_pod.items()}


def cut(said: PostedUsage, life: Life, now_microseconds: int) -> PostedUsage | None:
    """What a conductor said, cut to its worker's life; None where nothing of it lies in there.

    The heartbeat of an interval that has ended says only which of two writes is newer: it may be
    after the pod's end, which the meter perhaps learnt later than the conductor's last word.
    """
    until_now = now_microseconds + APART_MICROSECONDS
    earliest, latest = life.start_microseconds, life.end_microseconds
    latest = until_now if latest is None else latest
    start, end = said.start_microseconds, said.end_microseconds
    stop = said.heartbeat_at_microseconds if end is None else end
    if start > latest or max(start, stop) < earliest:
        return None
    start = max(start, earliest)
    heard = min(said.heartbeat_at_microseconds, latest if end is None else until_now)
    changes = {
        "start_microseconds": start,
        "end_microseconds": None if end is None else min(max(start, end), latest),
        "heartbeat_at_microseconds": max(start, heard),
    }
    return said.model_copy(update=changes)


def require_moment(
    name: str, at_microseconds: int, began_microseconds: int, now_microseconds: int
) -> None:
    """Go on where this may be the time of something in the run.

    Args:
        name: of the field.
        at_microseconds: what it says, UTC.
        began_microseconds: when the run did, or its first pod.
        now_microseconds: the cluster's time, UTC.

    Raises:
        Refusal: 422.
    """
    earliest = began_microseconds - BEFORE_MICROSECONDS
    latest = now_microseconds + AHEAD_MICROSECONDS
    if not earliest <= at_microseconds <= latest:
        raise Refusal(
            422,
            f"{name}: expected a time from {_words(earliest)}, a day before the run, to "
            f"{_words(latest)}, a minute from now, got {_words(at_microseconds)}; "
            "set the clock of the machine that posts",
        )


def _life(rows: list[Usage]) -> Life:
    ends = [row.end_microseconds for row in rows]
    last = max((end for end in ends if end is not None), default=None)
    return Life(
        max(rows, key=lambda row: row.start_microseconds),
        min(row.start_microseconds for row in rows),
        None if None in ends else last,
    )


def _words(at_microseconds: int) -> str:
    return f"{datetime.fromtimestamp(at_microseconds / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
