"""Tally's ledger of a simulated cluster against what the cluster truly cost, beside samplers."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from bench import ledger_meter, ledger_samplers
from bench.ledger_truth import cost_usd, node_usd, truth
from bench.simulated_cluster import BEGIN, Floats, SimulatedCluster, simulate
from tally.costing.ledger import open_ledger
from tally.kube.sampling import Samples

SPAN_SECONDS_A_POD = 8.64  # 10,000 pods a day
TARGET_TOTAL, TARGET_MEDIAN = 0.001, 0.01


def measure(folder: Path, count: int, seed: int = 1) -> dict[str, float]:
    """Errors as parts of the truth: of the sum, signed, and of a pod, the median of their size."""
    cluster = simulate(count, SPAN_SECONDS_A_POD * count, seed)
    exact = cost_usd(cluster, truth(cluster))
    states = ledger_meter.measured(cluster)
    ledger, accounts = _by_ledger(folder, cluster, states)
    workload, whole, idle = (float(amount) for amount in accounts)
    figures = {
        "pods": count,
        "nodes": len(cluster.nodes),
        "shortest_life_seconds": min(pod.ended - pod.scheduled for pod in cluster.pods) / 1e6,
        "longest_life_seconds": max(pod.ended - pod.scheduled for pod in cluster.pods) / 1e6,
        "truth_usd": float(exact.sum()),
        **_errors("ledger", ledger, exact),
        "nodes_error": whole / node_usd(cluster) - 1,
        "idle_part": idle / whole,
    }
    assert abs(workload - ledger.sum()) < 1e-6 * workload, "workload is what pods are charged"
    for interval in (15, 60):
        for sampler in (ledger_samplers.last_minus_first, ledger_samplers.samples_times_interval):
            held = sampler(cluster, interval)
            name = f"{sampler.__name__}_{interval}s"
            figures |= _errors(name, cost_usd(cluster, held), exact)
    for name, tail in ledger_samplers.TAILS.items():
        held = ledger_samplers.by_tail(cluster, states, tail)
        figures |= _errors(f"tail_{name}", cost_usd(cluster, held), exact)
    return figures


def met(figures: dict[str, float]) -> bool:
    """Whether the ledger's two errors are within the targets."""
    total, median = figures["ledger_error"], figures["ledger_median_pod_error"]
    return abs(total) <= TARGET_TOTAL and median <= TARGET_MEDIAN


def _errors(name: str, got: Floats, exact: Floats) -> dict[str, float]:
    return {
        f"{name}_error": float(got.sum() / exact.sum() - 1),
        f"{name}_median_pod_error": float(np.median(np.abs(got - exact) / exact)),
        f"{name}_missed": float(np.mean(got == 0)),
    }


def _by_ledger(
    folder: Path, cluster: SimulatedCluster, states: Sequence[Samples | None]
) -> tuple[Floats, tuple[Decimal, Decimal, Decimal]]:
    """What the ledger charges for each pod; for all workload, for all nodes, and as idle."""
    with open_ledger(f"sqlite:///{folder / 'cluster.db'}") as ledger:
        ledger.write_nodes(ledger_meter.nodes(cluster))
        ledger.write_usage(
            row
            for pod, state in zip(cluster.pods, states, strict=True)
            for row in ledger_meter.rows(cluster, pod, ledger_meter.used_by(pod, state))
        )
        period = ledger.period(BEGIN, cluster.end)
    usd: dict[str, Decimal] = defaultdict(Decimal)
    for one in period.charges:
        usd[one.usage.pod_uid] += one.hardware_usd
    of_pods = np.array([float(usd[pod.uid]) for pod in cluster.pods])
    workload = sum((account.workload_usd for account in period.accounts), Decimal(0))
    idle = sum((account.idle_usd for account in period.accounts), Decimal(0))
    overhead = sum((account.overhead_usd for account in period.accounts), Decimal(0))
    return of_pods, (workload, workload + idle + overhead, idle)
