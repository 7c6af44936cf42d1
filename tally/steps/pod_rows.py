"""Usage of a gang of pods, as its conductor tells it to the meter.

When a pod began, ended and what it held is in the pod's own rows. These only say which part of it
was work and which was starting again, and how long it waited in barriers.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from tally import clock
from tally.costing.usage import Phase, Usage
from tally.gang.coordinator.events import Observation
from tally.gang.gang import WorkerChange
from tally.steps.outbox import Outbox
from tally.steps.step import Step


class PodRows:
    """The open row of each worker's pod that lives; see Rows."""

    def __init__(self, here: Step, outbox: Outbox) -> None:
        """No worker lives yet.

        Args:
            here: the train step.
            outbox: to the meter.
        """
        self._here, self._outbox = here, outbox
        self._open: dict[str, Usage] = {}

    def change(self, change: WorkerChange, replacement: bool) -> None:
        """As Rows; an end with a cause is an event of the run."""
        row = self._open.get(change.worker)
        if change.state == "started":
            phase: Phase = "restart" if replacement else self._here.start_phase
            self._begin(change.worker, change.uid, phase, change.at_microseconds, 0)
        elif change.state == "ended":
            if row is not None and row.pod_uid == change.uid:
                del self._open[change.worker]
                self._close(row, change.at_microseconds)
            if change.cause not in ("", "exit"):
                self._outbox.happened(
                    change.cause,
                    self._here.name,
                    {
                        "worker": change.worker,
                        "pod_uid": change.uid,
                        "reason": change.reason,
                        "memory_limit_bytes": change.memory_limit_bytes,
                    },
                    change.at_microseconds,
                )

    def work(self, workers: Iterable[str], generation: int) -> None:
        """As Rows."""
        now = clock.now_microseconds()
        for worker in workers:
            row = self._open.get(worker)
            if row is not None and row.phase != "work":
                self._close(row, now)
                self._begin(worker, row.pod_uid, "work", now, generation)

    def waited(self, worker: str, observation: Observation) -> None:
        """As Rows; it is the row's heartbeat too."""
        row = self._open.get(worker)
        if row is None or row.phase != "work":
            return
        waited = observation.wait_seconds
        self._open[worker] = row = replace(
            row,
            heartbeat_at_microseconds=clock.now_microseconds(),
            wait_seconds=waited if math.isfinite(waited) else row.wait_seconds,
        )
        self._outbox.usage([row])

    def end(self) -> None:
        """As Rows."""
        for row in self._open.values():
            self._close(row, clock.now_microseconds())
        self._open.clear()

    def _begin(self, worker: str, uid: str, phase: Phase, start: int, generation: int) -> None:
        here = self._here
        row = Usage(
            run_id=here.run_id,
            pipeline=here.pipeline,
            step=here.name,
            worker=worker,
            attempt=here.attempt,
            generation=generation,
            team="",
            namespace="",
            pod_uid=uid,
            node_uid="",
            container="worker",
            machine_type="",
            provider="",
            region="",
            phase=phase,
            source="conductor",
            start_microseconds=start,
            heartbeat_at_microseconds=start,
            price_usd_per_hour=0.0,
        )
        self._open[worker] = row
        self._outbox.usage([row])

    def _close(self, row: Usage, end: int) -> None:
        end = max(end, row.start_microseconds)
        self._outbox.usage([replace(row, end_microseconds=end, heartbeat_at_microseconds=end)])
