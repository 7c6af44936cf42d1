"""How long a run's user has waited for it, and how much of that was the platform's. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from tally.costing.runs import RunRecord
from tally.costing.usage import Usage

BETWEEN_LIVES_MICROSECONDS = 120 * 10**6
"""A longer time with nothing of a run that was begun again lies between two of its lives; Kubeflow
takes up to 20 s between two steps, and one that was retried waits for nobody."""

DRIVER = "driver-"
"""What the names of Kubeflow's drivers begin with, as workers of usage."""

_Spans = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Wall:
    """A run's time, in microseconds.

    Attributes:
        microseconds: all of it.
        platform_microseconds: of it, when no pod of its own steps was there: Kubeflow's drivers,
            and its waiting between steps.
    """

    microseconds: int
    platform_microseconds: int


def wall(run: RunRecord, rows: Iterable[Usage]) -> Wall:
    """The time of a run.

    On this machine it is when anything of the run was there. On a cluster it lasts from its
    creation to its end, whatever was there; of one that was begun again, long gaps are between
    lives.

    Args:
        run: whose.
        rows: its usage.
    """
    if run.engine != "cluster":
        return Wall(_length((row.start_microseconds, row.stop_microseconds) for row in rows), 0)
    every, own = [], []
    for row in rows:
        span = row.start_microseconds, row.stop_microseconds
        every.append(span)
        if not row.worker.startswith(DRIVER):
            own.append(span)
    if not every:
        return Wall(0, 0)
    begin = min(run.created_at_microseconds, *(start for start, _ in every))
    end = max(run.ended_at_microseconds or 0, *(stop for _, stop in every))
    longest = None if run.attempt == 1 else BETWEEN_LIVES_MICROSECONDS
    whole = _length(_bridged([(begin, begin), *every, (end, end)], longest))
    return Wall(whole, max(0, whole - _length(own)))


def _bridged(spans: _Spans, longest: int | None) -> _Spans:
    """The spans and the gaps between them, but those that are longer than that."""
    found = sorted(spans)
    reached = found[0][1]
    for start, stop in list(found):
        if start > reached and (longest is None or start - reached <= longest):
            found.append((reached, start))
        reached = max(reached, stop)
    return found


def _length(spans: Iterable[tuple[int, int]]) -> int:
    """For how long at least one of them lasts."""
    union, reached = 0, None
    for start, stop in sorted(spans):
        if reached is None or start >= reached:
            union += stop - start
        elif stop > reached:
            union += stop - reached
        else:
            continue
        reached = stop
    return union
