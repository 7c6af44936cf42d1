"""The text of /metrics: what the ledger says, in Prometheus's words.

Counters come from the ledger, so a missed scrape loses nothing as long as money is read with
last_over_time: a series begins at what its run has cost, not at 0, and increase and rate miss that.
Once nothing of a run lasts, they say what the ledger says: a pod was perhaps believed to last a
heartbeat longer than it did. The text is made once a snapshot; a scrape only hands it out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tally.meter.accrual import Series, accrued
from tally.meter.snapshot import Amounts, NodePrice, RunFigures, Snapshot, Waiting

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_RUN_LABELS = ("run", "pipeline", "team")
_NODE_LABELS = ("instance", "node", "instance_type", "provider", "region", "spot", "uid")


@dataclass(frozen=True, slots=True)
class _Counter:
    """A counter of a run's series; `of` gives None where there is nothing to show."""

    name: str
    help: str
    of: Callable[[Amounts], float | None]


_COUNTERS = (
    _Counter(
        "tally_cost_usd",
        "Hardware and software of the run so far, in USD. Read it with last_over_time.",
        lambda amounts: amounts.cost_usd,
    ),
    _Counter(
        "tally_queue_seconds",
        "Time that pods waited for a node, each counted.",
        lambda amounts: amounts.queue_seconds or None,
    ),
    _Counter(
        "tally_cpu_core_seconds",
        "CPU time really used.",
        lambda amounts: amounts.cpu_core_seconds or None,
    ),
    _Counter(
        "tally_memory_byte_seconds",
        "Memory really held, in bytes x seconds.",
        lambda amounts: amounts.memory_byte_seconds or None,
    ),
    _Counter(
        "tally_accelerator_seconds",
        "Accelerators asked for x seconds.",
        lambda amounts: amounts.accelerator_seconds or None,
    ),
    _Counter(
        "tally_wait_seconds",
        "Time of workers in barriers.",
        lambda amounts: amounts.wait_seconds or None,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterState:
    """How the meter itself is.

    Attributes:
        last_write_microseconds: when the ledger last took a write, UTC; None before the first.
        ledger_errors: reads and writes that failed since the meter began.
        unwritten_rows: that wait for the ledger.
    """

    last_write_microseconds: int | None
    ledger_errors: int
    unwritten_rows: int = 0


class Exposition:
    """What is shown, and what was: counters go on from it.

    `show` is for one thread at a time, `text` for any.
    """

    def __init__(self) -> None:
        """Shows nothing yet."""
        self._shown: dict[str, dict[Series, float]] = {counter.name: {} for counter in _COUNTERS}
        self._times_usd: dict[tuple[str, str], float] = {}
        self._text = b""

    def show(self, snapshot: Snapshot) -> None:
        """Make the text of a snapshot, which replaces that of the last one."""
        lasting = {(place.team, place.run) for place in snapshot.pods}
        for counter in _COUNTERS:
            values = {place: counter.of(amounts) for place, amounts in snapshot.amounts.items()}
            counted = {place: value for place, value in values.items() if value is not None}
            risen = accrued(self._shown[counter.name], counted, lasting)
            self._shown[counter.name] = counted | risen
        before = self._times_usd
        self._times_usd = {
            run: max(figures.time_usd, before.get(run, 0.0) if run in lasting else 0.0)
            for figures in snapshot.runs
            for run in [(figures.team, figures.run)]
        }
        self._text = _text(_families(snapshot, self._shown, self._times_usd))

    def text(self, state: MeterState) -> bytes:
        """The last snapshot's text, and how the meter is."""
        return self._text + _text(_health(state))


def _text(families: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Made(families))
    return generate_latest(registry)


class _Made(Collector):
    """A collector of what is there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(
    snapshot: Snapshot,
    shown: Mapping[str, Mapping[Series, float]],
    times_usd: Mapping[tuple[str, str], float],
) -> Iterator[Metric]:
    for counter in _COUNTERS:
        family = CounterMetricFamily(counter.name, counter.help, labels=Series._fields)
        for series, value in shown[counter.name].items():
            family.add_metric(series, value)
        yield family
    yield from _of_runs(snapshot.runs, times_usd)
    pods = GaugeMetricFamily("tally_pods", "Pods that last now.", labels=Series._fields)
    for series, count in snapshot.pods.items():
        pods.add_metric(series, count)
    yield pods
    pending = GaugeMetricFamily(
        "tally_pending_seconds",
        "How long the pod of the step that waits longest for a node has waited.",
        labels=Waiting._fields,
    )
    for waiting, seconds in snapshot.pending_seconds.items():
        pending.add_metric(waiting, seconds)
    yield pending
    days = GaugeMetricFamily(
        "tally_day_cost_usd",
        "Hardware and software of a day in UTC: of runs, of pods without one, idle, overhead.",
        labels=("day", "pipeline", "team", "machine_type", "phase"),
    )
    for day in snapshot.days:
        for place, usd in day.costs_usd.items():
            days.add_metric(place, usd)
    yield days
    yield from _of_nodes(snapshot.prices)
    unpriced = GaugeMetricFamily(
        "tally_meter_unpriced_nodes",
        "Nodes whose machine type the catalogue has no price for.",
        labels=("machine_type",),
    )
    for machine_type, count in snapshot.unpriced_nodes.items():
        unpriced.add_metric((machine_type,), count)
    yield unpriced
    yield GaugeMetricFamily(
        "tally_meter_snapshot_timestamp_seconds",
        "When the ledger was read for what is shown here.",
        value=snapshot.at_microseconds / 1e6,
    )


def _of_runs(
    runs: Iterable[RunFigures], times_usd: Mapping[tuple[str, str], float]
) -> Iterator[Metric]:
    time = CounterMetricFamily(
        "tally_time_usd", "What the run's time so far is worth to its user.", labels=_RUN_LABELS
    )
    quoted = GaugeMetricFamily(
        "tally_quote_usd",
        "What the whole bill was predicted to be, time included.",
        labels=(*_RUN_LABELS, "bound"),
    )
    budget = GaugeMetricFamily(
        "tally_budget_usd",
        "What hardware and software may cost over all attempts.",
        labels=_RUN_LABELS,
    )
    for one in runs:
        labels = one.run, one.pipeline, one.team
        time.add_metric(labels, times_usd[one.team, one.run])
        if quote := one.quote:
            for bound in ("low", "expected", "high"):
                quoted.add_metric((*labels, bound), getattr(quote, f"{bound}_usd"))
            if quote.budget_usd is not None:
                budget.add_metric(labels, quote.budget_usd)
    yield from (time, quoted, budget)


def _of_nodes(prices: Iterable[NodePrice]) -> Iterator[Metric]:
    """Under OpenCost's names, so that what is built on those finds them."""
    families = [
        GaugeMetricFamily(name, f"Hourly cost {what}, in USD.", labels=_NODE_LABELS)
        for name, what in (
            ("node_total_hourly_cost", "of this node's hardware"),
            ("node_cpu_hourly_cost", "per vCPU on this node"),
            ("node_ram_hourly_cost", "per GiB of memory on this node"),
            ("node_gpu_hourly_cost", "per GPU on this node"),
        )
    ]
    for one in prices:
        node = one.node
        where = node.machine_type, node.provider, node.region
        labels = node.name, node.name, *where, str(node.spot).lower(), node.node_uid
        values = one.total_usd, one.core_usd, one.gibibyte_usd, one.accelerator_usd
        for family, value in zip(families, values, strict=True):
            family.add_metric(labels, value)
    yield from families


def _health(state: MeterState) -> Iterator[Metric]:
    if state.last_write_microseconds is not None:
        yield GaugeMetricFamily(
            "tally_meter_last_write_timestamp_seconds",
            "When the ledger last took a write.",
            value=state.last_write_microseconds / 1e6,
        )
    yield CounterMetricFamily(
        "tally_meter_ledger_errors",
        "Reads and writes of the ledger that failed.",
        value=state.ledger_errors,
    )
    yield GaugeMetricFamily(
        "tally_meter_unwritten_rows",
        "Rows that wait for the ledger.",
        value=state.unwritten_rows,
    )
