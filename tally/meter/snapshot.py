"""What /metrics shows, read from the ledger in one go: runs of the last hour, days, nodes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from tally.costing.allocation import Charge
from tally.costing.bill import make_bill
from tally.costing.ledger import Ledger
from tally.costing.nodes import Node
from tally.costing.quotes import Quote
from tally.costing.runs import RunKey
from tally.costing.usage import Usage
from tally.meter.accrual import Series
from tally.meter.days import DayCosts, has_price, is_unpriced, recent_days

SHOWN_SECONDS = 3600
"""So long after a run's end its series stay."""

_GIBIBYTE = 2**30


class Waiting(NamedTuple):
    """The labels of pods that wait for a node."""

    run: str
    pipeline: str
    step: str
    team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What one series of a run has come to, over the run's whole life.

    Attributes:
        cost_usd: hardware and software; None where the catalogue has no price, never 0 for it.
        queue_seconds: for which pods waited for a node, each counted.
        cpu_core_seconds, memory_byte_seconds: really used.
        accelerator_seconds: asked for.
        wait_seconds: of workers in barriers.
    """

    cost_usd: float | None
    queue_seconds: float
    cpu_core_seconds: float
    memory_byte_seconds: float
    accelerator_seconds: float
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What is known of a run as a whole; time_usd is the user's value of the time so far."""

    run: str
    pipeline: str
    team: str
    time_usd: float
    quote: Quote | None


@dataclass(frozen=True, slots=True)
class NodePrice:
    """A node with what an hour of it costs: whole, of a core, of a GiB, of an accelerator."""

    node: Node
    total_usd: float
    core_usd: float
    gibibyte_usd: float
    accelerator_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The ledger as /metrics shows it.

    Attributes:
        at_microseconds: UTC.
        amounts: of runs of which something lasted within the last hour.
        runs: the same runs.
        pods: how many pods of them last now, by phase.
        pending_seconds: how long the pod that waits longest has waited.
        days: today and yesterday.
        prices: of the nodes that are there now and have one.
        unpriced_nodes: by machine type, those that have none.
    """

    at_microseconds: int
    amounts: Mapping[Series, Amounts]
    runs: Sequence[RunFigures]
    pods: Mapping[Series, int]
    pending_seconds: Mapping[Waiting, float]
    days: Sequence[DayCosts]
    prices: Sequence[NodePrice]
    unpriced_nodes: Mapping[str, int]


def take(ledger: Ledger, now_microseconds: int, before: Snapshot | None = None) -> Snapshot:
    """Read all that is shown.

    Args:
        ledger: the meter's; what local processes used is not shown.
        now_microseconds: the cluster's time, UTC.
        before: the last snapshot; its days are taken over while they are fresh (today a minute,
            yesterday ten), since a day is the most to read.

    Raises:
        RunError, SpecError: as the ledger.
    """
    live = ledger.live_runs(now_microseconds - SHOWN_SECONDS * 10**6)
    by_run: dict[RunKey, list[Charge]] = defaultdict(list)
    for charge in ledger.pod_charges({run_id for _, run_id in live}) if live else ():
        if charge.usage.run_key in live:
            by_run[charge.usage.run_key].append(charge)
    lasting = [row for row in ledger.open_usage("pod") if row.run_key in live]
    nodes = ledger.nodes(now_microseconds - SHOWN_SECONDS * 10**6, now_microseconds + 1)
    there = [node for node in nodes if node.end_microseconds is None]
    return Snapshot(
        at_microseconds=now_microseconds,
        amounts=_amounts(charge for run in sorted(by_run) for charge in by_run[run]),
        runs=[_figures(ledger, run, by_run[run]) for run in sorted(by_run)],
        pods=Counter(map(_series, lasting)),
        pending_seconds=_pending(lasting, now_microseconds),
        days=recent_days(ledger, now_microseconds, before.days if before else ()),
        prices=[_price(node) for node in there if not is_unpriced(node)],
        unpriced_nodes=Counter(node.machine_type for node in there if is_unpriced(node)),
    )


def _series(row: Usage) -> Series:
    return Series(row.run_id, row.pipeline, row.step, row.team, row.machine_type, row.phase)


def _amounts(charges: Iterable[Charge]) -> dict[Series, Amounts]:
    """Sums by series, in the order in which they come."""
    grouped: dict[Series, list[Charge]] = defaultdict(list)
    for charge in charges:
        grouped[_series(charge.usage)].append(charge)
    return {series: _sum(own) for series, own in grouped.items()}


def _sum(charges: Sequence[Charge]) -> Amounts:
    rows = [charge.usage for charge in charges]
    queued = [row for row in rows if row.phase == "queue"]
    held = [row for row in rows if row.phase != "queue"]
    priced = [charge for charge in charges if has_price(charge.usage)]
    cost = sum((charge.hardware_usd + charge.software_usd for charge in priced), Decimal(0))
    return Amounts(
        cost_usd=float(cost) if priced else None,
        queue_seconds=sum(map(_seconds, queued)),
        cpu_core_seconds=sum(row.cpu_used_core_seconds for row in held),
        memory_byte_seconds=sum(row.memory_used_byte_seconds for row in held),
        accelerator_seconds=sum(row.accelerator_count * _seconds(row) for row in held),
        wait_seconds=sum(row.wait_seconds for row in held),
    )


def _seconds(row: Usage) -> float:
    return (row.stop_microseconds - row.start_microseconds) / 1e6


def _figures(ledger: Ledger, run: RunKey, charges: Sequence[Charge]) -> RunFigures:
    newest = max(charges, key=lambda charge: charge.usage.start_microseconds).usage
    namespace, run_id = run
    record = ledger.run(run_id, namespace)
    time = make_bill(record, charges, record.value_of_hour_usd).time_usd if record else 0
    quote = ledger.quote(run_id, namespace)
    return RunFigures(run_id, newest.pipeline, newest.team, float(time), quote)


def _pending(rows: Iterable[Usage], now_microseconds: int) -> dict[Waiting, float]:
    longest: dict[Waiting, float] = {}
    for row in rows:
        if row.phase == "queue":
            place = Waiting(row.run_id, row.pipeline, row.step, row.team)
            waited = max(0.0, (now_microseconds - row.start_microseconds) / 1e6)
            longest[place] = max(waited, longest.get(place, 0.0))
    return longest


def _price(node: Node) -> NodePrice:
    """An hour's price in parts, as OpenCost shows it: each resource's part by its capacity."""

    def unit(share: float, capacity: float) -> float:
        return node.price_usd_per_hour * share / capacity if capacity else 0.0

    gibibytes = node.memory_capacity_bytes / _GIBIBYTE
    return NodePrice(
        node,
        node.price_usd_per_hour,
        unit(node.cpu_share, node.cpu_capacity_cores),
        unit(node.memory_share, gibibytes),
        unit(node.accelerator_share, node.accelerator_capacity),
    )
