"""A week of pods written to a ledger and billed, in a process of its own for its peak of memory.

python -m bench.ledger_week FOLDER PODS prints one JSON object.
"""

import itertools
import json
import resource
import sys
import time
from decimal import Decimal
from pathlib import Path

from bench import ledger_meter
from bench.simulated_cluster import BEGIN, SECOND, SimulatedCluster, SimulatedPod, simulate
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.runs import RunRecord
from tally.kube.sampling import Used

WEEK_SECONDS = 7 * 24 * 3600.0
PODS = 50_000
TARGET_SECONDS, TARGET_BYTES = 10.0, 500_000_000
TOGETHER = 500  # pods in one transaction


def main(folder: str, count: int) -> None:
    cluster = simulate(count, WEEK_SECONDS * count / PODS, seed=1)
    before = _peak_bytes()
    with open_ledger(f"sqlite:///{Path(folder) / 'week.db'}") as ledger:
        figures = write(ledger, cluster) | bill(ledger, cluster)
    figures |= {"peak_bytes": _peak_bytes(), "peak_bytes_before": before}
    print(json.dumps(figures))


def write(ledger: Ledger, cluster: SimulatedCluster) -> dict[str, float]:
    """Seconds to write nodes, runs and pods."""
    seconds = 0.0
    began = time.perf_counter()
    ledger.write_nodes(ledger_meter.nodes(cluster))
    ledger.put_new_runs(runs(cluster))
    seconds += time.perf_counter() - began
    pods, rows = iter(cluster.pods), 0
    while some := list(itertools.islice(pods, TOGETHER)):
        written = [row for pod in some for row in ledger_meter.rows(cluster, pod, _used(pod))]
        rows += len(written)
        began = time.perf_counter()
        ledger.write_usage(written)
        seconds += time.perf_counter() - began
    return {"pods": len(cluster.pods), "rows": rows, "write_seconds": seconds}


def bill(ledger: Ledger, cluster: SimulatedCluster) -> dict[str, float]:
    """Seconds to make every run's bill, and to account for every node's week."""
    began, cpu = time.perf_counter(), time.process_time()
    bills = ledger.bills()
    billed = time.perf_counter()
    bill_cpu = time.process_time() - cpu
    period = ledger.period(BEGIN, cluster.end)
    ended = time.perf_counter()
    account_cpu = time.process_time() - cpu - bill_cpu
    of_runs = sum((one.hardware_usd for one in bills), Decimal(0))
    charged = sum((one.hardware_usd for one in period.charges), Decimal(0))
    of_nobody = sum((one.hardware_usd for one in period.charges if not one.usage.run_id), Decimal())
    workload = sum((one.workload_usd for one in period.accounts), Decimal(0))
    assert abs(of_runs + of_nobody - charged) < Decimal("1e-6"), "bills and charges disagree"
    assert abs(charged - workload) < Decimal("1e-6"), "charges and nodes disagree"
    return {
        "runs": len(bills),
        "bill_seconds": billed - began,
        "bill_cpu_seconds": bill_cpu,
        "account_seconds": ended - billed,
        "account_cpu_seconds": account_cpu,
        "total_usd": float(charged),
    }


def runs(cluster: SimulatedCluster) -> list[RunRecord]:
    """A record of each run, as the meter makes it of a run's first pod."""
    first: dict[str, SimulatedPod] = {}
    for pod in cluster.pods:
        first.setdefault(ledger_meter.run_id(pod.number), pod)
    return [
        RunRecord(
            id=run_id,
            pipeline="cnn",
            state="succeeded",
            created_at_microseconds=pod.created,
            value_of_hour_usd=1.0,
            engine="cluster",
            team=ledger_meter.team(pod.number),
        )
        for run_id, pod in first.items()
        if run_id
    ]


def met(figures: dict[str, float], seconds: float = TARGET_SECONDS) -> bool:
    """Whether the bills of a week, and its accounts, take no longer and no more than they may."""
    slower = max(figures["bill_seconds"], figures["account_seconds"])
    return slower < seconds and figures["peak_bytes"] < TARGET_BYTES


def _used(pod: SimulatedPod) -> Used:
    """Some use, now above and now below the request."""
    part = 0.3 + pod.number % 13 / 10
    seconds = (pod.ended - pod.started) / SECOND
    return Used(pod.asked[0] * part * seconds, pod.asked[1] * 0.8 * seconds)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # the kernel's is in KiB


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
