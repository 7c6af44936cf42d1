"""What others make of the same cluster: two samplers, and other ways to end a sampled counter.

Their pods are priced by the truth's own arithmetic, so that only the sampling differs.
"""

from collections.abc import Callable, Iterable

import numpy as np

from bench import ledger_meter
from bench.ledger_truth import Held
from bench.simulated_cluster import SECOND, SimulatedCluster, SimulatedPod, ticks
from tally.kube.sampling import TRUNCATED_MICROSECONDS, Samples

Tail = Callable[[Samples, int], float]
"""Cores after the last sample, of a container that started then (microseconds UTC)."""


def last_minus_first(cluster: SimulatedCluster, interval_seconds: float) -> Held:
    """A pod lasts from its first sample to its last, as with max_over_time - min_over_time."""
    return _sampled(cluster, interval_seconds, 0)


def samples_times_interval(cluster: SimulatedCluster, interval_seconds: float) -> Held:
    """A pod lasts an interval for each sample, as with sum_over_time × interval."""
    return _sampled(cluster, interval_seconds, int(interval_seconds * SECOND))


def _sampled(cluster: SimulatedCluster, interval_seconds: float, each: int) -> Held:
    lines = []
    for pod, signal in zip(cluster.pods, cluster.signals, strict=True):
        at = list(ticks(pod.node, pod.scheduled, pod.ended, interval_seconds, cluster.seed))
        if not at:
            lines.append((pod.node, pod.scheduled, pod.scheduled, pod.asked, pod.asked))
            continue
        moments = np.array([at[0], at[-1]], dtype=float)
        counter = signal.core_seconds(moments)
        cores, memory = pod.asked[0], float(np.mean(signal.working_set_at(np.array(at, float))))
        if len(at) > 1:
            cores = float(counter[1] - counter[0]) / ((at[-1] - at[0]) / SECOND)
        stop = at[0] + len(at) * each if each else at[-1]
        lines.append((pod.node, at[0], stop, pod.asked, (cores, memory, pod.asked[2])))
    return Held(*map(np.array, zip(*lines, strict=True)))


def _nothing(_state: Samples, _start: int) -> float:
    return 0.0


def _mean_of_life(state: Samples, start: int) -> float:
    seconds = (state.at_microseconds - start) / 1e6
    return state.cpu_core_seconds / seconds if seconds > 0 else 0.0


def _last_interval(state: Samples, start: int) -> float:
    return _mean_of_life(state, start) if state.rate_cores is None else state.rate_cores


TAILS: dict[str, Tail] = {
    "nothing": _nothing,
    "mean_of_life": _mean_of_life,
    "last_interval": _last_interval,
}


def by_tail(cluster: SimulatedCluster, states: Iterable[Samples | None], tail: Tail) -> Held:
    """The meter's pods, with another estimate of what came after the last sample."""
    lines = []
    for pod, state in zip(cluster.pods, states, strict=True):
        start, stop = ledger_meter.cut(pod.scheduled), ledger_meter.cut(pod.ended)
        lines.append((pod.node, start, stop, pod.asked, _used(pod, state, tail)))
    return Held(*map(np.array, zip(*lines, strict=True)))


def _used(pod: SimulatedPod, state: Samples | None, tail: Tail) -> tuple[float, float, float]:
    """Cores, bytes and accelerators on average over the pod's life as Kubernetes gives it."""
    started, ended = ledger_meter.cut(pod.started), ledger_meter.cut(pod.ended)
    what = ledger_meter.used_by(pod, state)
    seconds = (ended - ledger_meter.cut(pod.scheduled)) / 1e6
    if state is None or what is None or seconds <= 0:
        return pod.asked
    left = max(0, ended + TRUNCATED_MICROSECONDS - state.at_microseconds) / 1e6
    cpu = state.cpu_core_seconds + tail(state, started) * left
    return cpu / seconds, what.memory_byte_seconds / seconds, pod.asked[2]
