"""Counters that never fall, out of a ledger that may think again. Pure.

The ledger sometimes moves what it has counted from one phase of a step to another: work becomes
restart once it is known to be lost, and what a pod used above its request is spread over its whole
life. A counter cannot take anything back. So it stays where it is, and what the other phases gain
meanwhile is shown less by as much: every counter only rises, and their sum over the phases is the
ledger's to the last digit. A meter after its restart, and any once nothing of the run lasts, shows
it as the ledger has it now.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Series(NamedTuple):
    """The labels of what a run has used; never a pod's name. A run's team is its namespace."""

    run: str
    pipeline: str
    step: str
    team: str
    machine_type: str
    phase: str


Values = Mapping[Series, float]


def accrued(shown: Values, counted: Values, runs: Iterable[tuple[str, str]]) -> dict[Series, float]:
    """What is shown next.

    Args:
        shown: before, none of it negative.
        counted: by the ledger now.
        runs: those of which something lasts, by team and id; of others nothing is told.
    """
    alive = set(runs)
    groups: dict[tuple[str, ...], list[Series]] = defaultdict(list)
    for series in {**counted, **shown}:
        if (series.team, series.run) in alive:
            groups[series[:-1]].append(series)
    found: dict[Series, float] = {}
    for group in groups.values():
        found.update(_risen(group, shown, counted))
    return found


def _risen(group: Iterable[Series], shown: Values, counted: Values) -> dict[Series, float]:
    """The phases of one step on one machine type."""
    before = {series: shown.get(series, 0.0) for series in group}
    now = {series: counted.get(series, 0.0) for series in group}
    if all(now[series] >= before[series] for series in before):
        return now
    gains = {series: max(0.0, now[series] - before[series]) for series in before}
    gained = max(0.0, sum(now.values()) - sum(before.values()))
    part = min(1.0, gained / sum(gains.values())) if gained else 0.0
    return {series: before[series] + gains[series] * part for series in before}
