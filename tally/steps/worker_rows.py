"""Usage of a gang: each worker's start until its first generation, then its work."""

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from tally import clock
from tally.costing.usage import Phase, Usage
from tally.gang.coordinator.events import Observation
from tally.gang.gang import WorkerChange
from tally.steps.recorder import local_usage
from tally.steps.step import Step


class Rows(Protocol):
    """What a conductor tells of its workers' usage."""

    def change(self, change: WorkerChange, replacement: bool) -> None:
        """A worker's process or pod began, waits, or ended.

        Args:
            change: what happened.
            replacement: it starts because one that trained has ended: its start is a restart.
        """

    def work(self, workers: Iterable[str], generation: int) -> None:
        """These train from now on."""

    def waited(self, worker: str, observation: Observation) -> None:
        """A worker told how long it has waited so far."""

    def end(self) -> None:
        """Close what is still open: nobody told its end."""


def rows_of(here: Step, cores: int) -> Rows:
    """Rows in the ledger of this machine's processes; of pods, to the meter where there is one.

    Args:
        here: the train step.
        cores: that each process holds; 0 for all of the machine.
    """
    if here.outbox is None or not here.run.in_pod:
        return WorkerRows(here, cores)
    from tally.steps.pod_rows import PodRows

    return PodRows(here, here.outbox)


class WorkerRows:
    """The open row of each worker process that lives; pods have their rows from the meter."""

    def __init__(self, here: Step, cores: int) -> None:
        """No worker lives yet.

        Args:
            here: the train step.
            cores: that each holds; 0 for all of the machine.
        """
        self._here, self._cores = here, float(cores or os.cpu_count() or 1)
        self._open: dict[str, tuple[Usage, int]] = {}

    def change(self, change: WorkerChange, replacement: bool) -> None:
        """As Rows."""
        if change.pid is None:
            return
        if change.state == "started":
            phase: Phase = "restart" if replacement else self._here.start_phase
            row = self._row(change.worker, change.pid, phase, change.at_microseconds, 0)
            self._open[change.worker] = row, change.pid
        elif change.state == "ended" and change.worker in self._open:
            row, pid = self._open[change.worker]
            if pid == change.pid:
                del self._open[change.worker]
                self._here.recorder.close(row, change.at_microseconds, change.cpu_seconds)

    def work(self, workers: Iterable[str], generation: int) -> None:
        """As Rows."""
        now = clock.now_microseconds()
        for worker in workers:
            row, pid = self._open.get(worker, (None, 0))
            if row is not None and row.phase != "work":
                self._here.recorder.close(row, now)
                self._open[worker] = self._row(worker, pid, "work", now, generation), pid

    def waited(self, worker: str, observation: Observation) -> None:
        """As Rows."""
        row, _ = self._open.get(worker, (None, 0))
        if row is not None and row.phase == "work":
            self._here.recorder.waited(row, observation.wait_seconds)

    def end(self) -> None:
        """As Rows."""
        for row, _ in self._open.values():
            self._here.recorder.close(row, clock.now_microseconds())
        self._open.clear()

    def _row(self, worker: str, pid: int, phase: Phase, start: int, generation: int) -> Usage:
        row = local_usage(
            self._here.run,
            step=self._here.name,
            worker=worker,
            pid=pid,
            container="worker",
            phase=phase,
            start=start,
            cores=self._cores,
        )
        return self._here.recorder.open(replace(row, generation=generation), pid)
