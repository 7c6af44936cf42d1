"""The bills of many runs at once, fast: rows to charges to bills, a company of runs at a time."""

import contextlib
import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tally.costing.allocation import Charge, charge
from tally.costing.bill import Bill, make_bill
from tally.costing.merge import merge
from tally.costing.runs import RunKey, RunRecord
from tally.costing.tables import as_usage

# What merge, charge and make_bill look at: reading no more takes half the time. The first and the
# last two are looked at here.
SWEPT_NAMES = (
    "run_id", "pipeline", "step", "worker", "attempt", "generation", "pod_uid", "node_uid",
    "container", "end_microseconds", "heartbeat_at_microseconds", "cpu_request_cores", "phase",
    "source", "confirmed", "price_usd_per_hour", "software_usd_per_hour", "start_microseconds",
    "stop_microseconds",
)  # fmt: skip
_ROWS_TOGETHER = 500  # few enough that they stay in the processor's cache: a third faster


def sweep(
    records: Sequence[RunRecord], rows: Iterable[Sequence[Any]], pods: Iterable[Charge]
) -> list[Bill]:
    """The bill of each record, in their order.

    Args:
        rows: of SWEPT_NAMES: local ones of these runs, and of all that were beside them on a
            machine.
        pods: charges of pods with these runs' ids, of whichever namespace.
    """
    wanted = {record.key: record for record in records}
    of_pods: dict[RunKey, list[Charge]] = defaultdict(list)
    for one in pods:
        of_pods[one.usage.run_key].append(one)
    bills: dict[RunKey, Bill] = {
        key: make_bill(record, of_pods[key], record.value_of_hour_usd)
        for key, record in wanted.items()
        if key in of_pods
    }
    for company in _companies(rows):
        by_run: dict[RunKey, list[Charge]] = defaultdict(list)
        for one in charge(merge(as_usage(company, SWEPT_NAMES))):
            by_run[one.usage.run_key].append(one)
        for key, charges in by_run.items():
            if record := wanted.get(key):
                charges += of_pods.get(key, [])
                bills[key] = make_bill(record, charges, record.value_of_hour_usd)
    return [
        bills.get(record.key) or make_bill(record, [], record.value_of_hour_usd)
        for record in records
    ]


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection inside the block: a quarter of the time of reading and sweeping, which
    make many objects and no cycle."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _companies(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """Rows in groups of whole runs; runs of different groups were never there at the same time."""
    by_run: dict[str, list[Sequence[Any]]] = defaultdict(list)
    for row in rows:
        by_run[row[0]].append(row)
    spans = [
        (min(row[-2] for row in own), max(row[-1] for row in own), own) for own in by_run.values()
    ]
    spans.sort(key=lambda span: span[0])
    company: list[Sequence[Any]] = []
    reached = 0
    for start, stop, own in spans:
        if len(company) >= _ROWS_TOGETHER and start >= reached:
            yield company
            company = []
        company += own
        reached = max(reached, stop)
    if company:
        yield company
