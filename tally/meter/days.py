"""What today and yesterday cost, from the ledger: the figures that totals are made of."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from tally.costing.allocation import usd
from tally.costing.ledger import Ledger
from tally.costing.nodes import Node
from tally.costing.usage import Usage

_DAY_MICROSECONDS = 86_400 * 10**6
_TODAY_KEPT_MICROSECONDS = 60 * 10**6
_YESTERDAY_KEPT_MICROSECONDS = 600 * 10**6  # late rows still change a day that is over


class DaySeries(NamedTuple):
    """The labels of what a day cost: phase is a run's, "idle" or "overhead"; what is nobody's has
    neither pipeline nor team, a pod without a run no pipeline."""

    day: str
    pipeline: str
    team: str
    machine_type: str
    phase: str


@dataclass(frozen=True, slots=True)
class DayCosts:
    """A day in UTC: hardware and software of what ran, and of what of the nodes was left over."""

    day: str
    read_at_microseconds: int
    costs_usd: Mapping[DaySeries, float]


def has_price(row: Usage) -> bool:
    """Whether an interval holds a machine whose price is known."""
    return row.phase != "queue" and not row.is_unpriced


def is_unpriced(node: Node) -> bool:
    """Whether the catalogue had no price for the node."""
    return not node.catalogue_version and not node.price_usd_per_hour


def recent_days(
    ledger: Ledger, now_microseconds: int, known: Iterable[DayCosts] = ()
) -> list[DayCosts]:
    """Today and yesterday.

    Args:
        ledger: where it stands.
        now_microseconds: UTC.
        known: of an earlier reading, taken over while they are fresh: today for a minute,
            yesterday for ten. A day is the most that there is to read.
    """
    midnight = now_microseconds // _DAY_MICROSECONDS * _DAY_MICROSECONDS
    by_name = {day.day: day for day in known}
    found = []
    for start, kept in (
        (midnight, _TODAY_KEPT_MICROSECONDS),
        (midnight - _DAY_MICROSECONDS, _YESTERDAY_KEPT_MICROSECONDS),
    ):
        stop = min(start + _DAY_MICROSECONDS, now_microseconds)
        name = datetime.datetime.fromtimestamp(start // 10**6, datetime.UTC).date().isoformat()
        day = by_name.get(name)
        ended_since = start < midnight and day and day.read_at_microseconds < midnight
        if day is None or ended_since or now_microseconds - day.read_at_microseconds >= kept:
            day = DayCosts(name, now_microseconds, _costs(ledger, name, start, stop))
        found.append(day)
    return found


def _costs(ledger: Ledger, day: str, start: int, stop: int) -> dict[DaySeries, float]:
    period = ledger.period(start, stop)
    sums: dict[DaySeries, Decimal] = defaultdict(Decimal)
    for charge in period.charges:
        row = charge.usage
        if has_price(row):
            series = DaySeries(day, row.pipeline, row.team, row.machine_type, row.phase)
            sums[series] += charge.hardware_usd + charge.software_usd
    for account in period.accounts:
        node = account.node
        for phase, microseconds in (
            ("idle", account.idle_microseconds),
            ("overhead", account.overhead_microseconds),
        ):
            if not is_unpriced(node):
                cost = usd(microseconds, node.price_usd_per_hour)
                cost += usd(microseconds, node.software_usd_per_hour)
                sums[DaySeries(day, "", "", node.machine_type, phase)] += cost
    return {series: float(cost) for series, cost in sorted(sums.items()) if cost}
