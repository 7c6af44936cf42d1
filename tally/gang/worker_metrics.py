"""A worker's own metrics for Prometheus, on a port of their own: how its steps go.

    TALLY_METRICS_PORT    the port; without it there are none (pods of a gang have it)

Feeding them is a few additions in the thread that trains, a microsecond or two a call: what
Prometheus reads is made of them when it asks. There is no label: what tells workers apart comes
from who was asked.
"""

import bisect
import os
import sys
from collections.abc import Iterable
from typing import Protocol

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from tally.gang.coordinator.events import Observation

PORT = "TALLY_METRICS_PORT"
BUCKETS_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class Counts(Protocol):
    """What a worker has done so far; of standing.Standing."""

    steps: int
    own_examples: int
    waited_seconds: float


class _Histogram:
    """Counts of durations; one thread adds, another reads."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_SECONDS) + 1)
        self.sum_seconds = 0.0

    def add(self, seconds: float, times: int) -> None:
        self.counts[bisect.bisect_left(BUCKETS_SECONDS, seconds)] += times
        self.sum_seconds += seconds * times

    def family(self, name: str, text: str) -> Metric:
        bounds = [*map(floatToGoString, BUCKETS_SECONDS), "+Inf"]
        counts, total, buckets = list(self.counts), 0, []
        for bound, count in zip(bounds, counts, strict=True):
            total += count
            buckets.append((bound, total))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self.sum_seconds)


class WorkerMetrics(Collector):
    """What one worker has measured; `observe` in one thread, `collect` in any."""

    def __init__(self) -> None:
        self._step, self._sync = _Histogram(), _Histogram()
        self._examples = self._steps = 0
        self._waited_seconds = 0.0
        self._newest: Observation | None = None
        self._world_size = 0

    def observe(self, observation: Observation, done: Counts, world_size: int) -> None:
        """Take in what the last call of training did.

        Args:
            observation: as the coordinator gets it.
            done: by this worker over its life, this call among it.
            world_size: of the generation.
        """
        steps = done.steps - self._steps
        self._step.add(observation.step_seconds, steps)
        if observation.sync_seconds:
            self._sync.add(observation.sync_seconds, steps)
        self._steps, self._examples = done.steps, done.own_examples
        self._waited_seconds = done.waited_seconds
        self._newest, self._world_size = observation, world_size

    def collect(self) -> Iterable[Metric]:
        """All of it, as prometheus_client's registry asks for it."""
        yield CounterMetricFamily(
            "tally_worker_examples", "Examples this worker has computed.", value=self._examples
        )
        yield CounterMetricFamily(
            "tally_worker_wait_seconds",
            "Time in barriers beyond what the fastest of recent sums took.",
            value=self._waited_seconds,
        )
        yield self._step.family("tally_worker_step_seconds", "An optimiser step, sum included.")
        yield self._sync.family("tally_worker_sync_seconds", "The sum over the gang in a step.")
        if newest := self._newest:
            for name, text, value in (
                (
                    "gradient_noise_scale",
                    "In examples; NaN until known.",
                    newest.gradient_noise_scale,
                ),
                ("generation", "Of the gang.", newest.generation),
                ("world_size", "Workers in the gang.", self._world_size),
            ):
                yield GaugeMetricFamily(f"tally_worker_{name}", text, value=value)


def serve(host: str) -> WorkerMetrics:
    """This worker's metrics, served at $TALLY_METRICS_PORT of `host` until the process ends.

    A port that cannot be had costs a line in the log and no training.
    """
    metrics, registry = WorkerMetrics(), CollectorRegistry()
    registry.register(metrics)
    port = os.environ.get(PORT, "")
    try:
        start_http_server(int(port), host, registry)
    except (OSError, ValueError, OverflowError) as error:
        print(
            f"{PORT}: expected a free port of {host}, got {port} ({error}); "
            "this worker goes on without metrics",
            file=sys.stderr,
        )
    return metrics
