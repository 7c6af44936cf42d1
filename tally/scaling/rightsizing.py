"""What a step's pod should ask for, from what such pods used before. Pure.

As the Vertical Pod Autoscaler does it: a histogram with buckets that grow by 5 %, in which a sample
loses weight with age; of that the 90th percentile, and 15 % on top. After an OOM kill more than the
limit was. It differs where a pipeline differs from a service: a sample is a whole life of a pod (of
memory its peak, of CPU its mean), of which there may be one a night, so the half-life is a week
instead of a day; an OOM kill counts for four weeks by itself, whatever the percentile says, since
the next life is the next run, and failing each other night would be no bargain.

Source: kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender:
logic/recommender.go (percentiles 0.9, margin 0.15, at least 25m and 250 MiB),
model/aggregations_config.go (growth 0.05 from 1 millicore and 10 MB, half-lives 24 h,
OOM: × 1.2 and at least 100 MiB; here × 1.5, since there is one retry and no updater).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tally.costing.lives import Life

PERCENTILE = 0.9
MARGIN = 1.15
GROWTH = 1.05
HALF_LIFE_SECONDS = 7 * 86400.0
REMEMBERED_SECONDS = 28 * 86400.0
FEWEST_LIVES = 3
SHORTEST_SECONDS = 45.0
"""A life in which the kubelet looked less than three times has shown no peak."""

LEAST_CORES, LEAST_BYTES = 0.05, 256 << 20
CORES_STEP, MEMORY_STEP = 0.05, 64 << 20
"""Requests are whole multiples: small changes from day to day make no new version of a pipeline."""

_FIRST_CORES, _FIRST_BYTES = 0.001, 1e7
_OOM_RATIO, _OOM_LEAST_BYTES = 1.5, 100 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What a pod asks for.

    Attributes:
        cpu_cores, memory_bytes: the requests.
        cpu_limit_cores, memory_limit_bytes: the limits.
        reason: in words; "" where it is the usual.
    """

    cpu_cores: float
    memory_bytes: int
    cpu_limit_cores: float
    memory_limit_bytes: int
    reason: str = ""

    @property
    def words(self) -> str:
        """The requests, as people read them."""
        return f"{round(self.cpu_cores * 1000)}m CPU and {_mebibytes(self.memory_bytes)}"


WORKER = Requests(
    cpu_cores=1.0, memory_bytes=2 << 30, cpu_limit_cores=1.0, memory_limit_bytes=2 << 30
)
"""Of a gang's worker that has no machine type; it computes with one thread."""


def right_size(lives: Sequence[Life], usual: Requests, now_microseconds: int) -> Requests:
    """What the next such pod should ask for.

    CPU's limit stays the usual and bounds its request: what was never used more of than there was
    says nothing above it. Memory's limit never falls below the usual, which costs nothing: only
    what is asked for or used is billed.

    Args:
        lives: of the same step of the same pipeline, in any order.
        usual: what it asks for where nothing is known.
        now_microseconds: UTC.

    Returns:
        `usual` where fewer than 3 lives were seen for long enough, and none was killed for memory.
    """
    recent = [life for life in lives if _age_seconds(life, now_microseconds) <= REMEMBERED_SECONDS]
    seen = [life for life in recent if life.memory_peak_bytes and life.work_seconds]
    seen = [life for life in seen if life.work_seconds >= SHORTEST_SECONDS]
    cores, memory, reasons = usual.cpu_cores, usual.memory_bytes, []
    if len(seen) >= FEWEST_LIVES:
        weights = [0.5 ** (_age_seconds(life, now_microseconds) / HALF_LIFE_SECONDS)
                   for life in seen]  # fmt: skip
        means = (life.cpu_core_seconds / life.work_seconds for life in seen)
        used = _percentile(list(zip(means, weights, strict=True)), _FIRST_CORES)
        peaks = (float(life.memory_peak_bytes) for life in seen)
        peak = _percentile(list(zip(peaks, weights, strict=True)), _FIRST_BYTES)
        cores = _within(LEAST_CORES, _up(used * MARGIN, CORES_STEP), usual.cpu_limit_cores)
        # who lived within a limit needs no higher one; with a margin, page cache would raise it
        # from run to run, since a working set grows with it up to the limit
        highest = max(life.memory_peak_bytes for life in seen)
        most = max(usual.memory_limit_bytes, _up(highest, MEMORY_STEP))
        memory = int(_within(LEAST_BYTES, _up(peak * MARGIN, MEMORY_STEP), most))
        reasons.append(
            f"{len(seen)} past lives used up to {used:.2f} cores and {_mebibytes(peak)} in "
            f"{PERCENTILE:.0%} of them"
        )
    if oom := max((life.oom_limit_bytes for life in recent), default=0):
        memory = max(memory, after_oom_bytes(oom, usual.memory_limit_bytes))
        reasons.append(f"one was killed at {_mebibytes(oom)}")
    if not reasons:
        return usual
    return Requests(
        cpu_cores=cores,
        memory_bytes=memory,
        cpu_limit_cores=usual.cpu_limit_cores,
        memory_limit_bytes=max(memory, usual.memory_limit_bytes),
        reason=", ".join(reasons),
    )


def after_oom_bytes(limit_bytes: int, usual_bytes: int) -> int:
    """What a pod gets that was killed for exceeding its limit: half as much again, at least the
    usual, from which it may have been sized down."""
    more = max(limit_bytes * _OOM_RATIO, limit_bytes + _OOM_LEAST_BYTES)
    return max(int(_up(more, MEMORY_STEP)), usual_bytes)


def _age_seconds(life: Life, now_microseconds: int) -> float:
    return max(0.0, (now_microseconds - life.ended_at_microseconds) / 1e6)


def _percentile(samples: Iterable[tuple[float, float]], first: float) -> float:
    """The end of the bucket in which the percentile lies. Bucket 0 ends at `first`, and each is
    wider than the one before by GROWTH.

    Args:
        samples: value, weight.
        first: the first bucket's width.
    """
    ordered = sorted(samples)
    wanted, reached = PERCENTILE * sum(weight for _, weight in ordered), 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= wanted:
            return _bucket_end(value, first)
    return _bucket_end(ordered[-1][0], first)


def _bucket_end(value: float, first: float) -> float:
    """Bucket n is first · GROWTH^n wide: up to its end that adds up to a geometric sum."""
    ratio = GROWTH - 1
    bucket = max(0, math.ceil(math.log(value * ratio / first + 1, GROWTH) - 1e-9) - 1)
    return float(first * (GROWTH ** (bucket + 1) - 1) / ratio)


def _up(value: float, step: float) -> float:
    return math.ceil(value / step - 1e-9) * step


def _within(least: float, value: float, most: float) -> float:
    return round(min(max(least, value), max(least, most)), 6)


def _mebibytes(count_bytes: float) -> str:
    return f"{count_bytes / 2**20:.0f} MiB"
