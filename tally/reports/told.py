"""A cluster's run as its meter tells of it, in the words of a run's events. Pure."""

from collections.abc import Iterable

from tally.costing.quotes import RunEvent
from tally.costing.usage import Usage
from tally.reports.history import Event

NOT_TOLD = (
    "This page is made of what the cluster's meter has. It has no measures by example, no "
    "candidates and no training speed: the first two are on the page of the evaluate step in "
    "Kubeflow, the speed is in the train step's log (`make logs`)."
)


def events_of(told: Iterable[RunEvent], usage: Iterable[Usage]) -> list[Event]:
    """Events as `tally.events.read` gives them, in the order of `told`.

    Args:
        told: as the meter keeps them; it is not told of progress.
        usage: the run's rows: an event is of the newest attempt that had begun by then.
    """
    begun: dict[int, int] = {}
    for row in usage:
        start = row.start_microseconds
        begun[row.attempt] = min(start, begun.get(row.attempt, start))

    def attempt(at: int) -> int:
        return max((number for number, start in begun.items() if start <= at), default=1)

    return [
        {
            **one.facts,
            "at_microseconds": one.at_microseconds,
            "attempt": attempt(one.at_microseconds),
            "step": one.step,
            "event": one.kind,
        }
        for one in told
    ]
