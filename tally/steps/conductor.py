"""The conductor: it hears the coordinator and the gang, and keeps a training going to its end.

Everything that happens comes through one queue: what workers say, what became of their processes
or pods, and what was asked from outside. Each is looked at, decided on and done, one at a time.
"""

import contextlib
import math
import queue
import time
from typing import Any

from tally import storage
from tally.costing.spending import Spending
from tally.errors import RunError, SpecError
from tally.gang import messages as say
from tally.gang.coordinator import events as heard
from tally.gang.coordinator.server import Coordinator
from tally.gang.gang import Gang, WorkerChange
from tally.steps import limiting, saying
from tally.steps.limiting import Limiter
from tally.steps.lost_work import count_lost_work
from tally.steps.scaling import Scaler
from tally.steps.step import TERMINATED, Step
from tally.steps.worker_rows import rows_of
from tally.steps.workforce import Workforce

STOP_SECONDS = 1.6  # the workers' last call and a checkpoint, inside submit's two seconds
LIMIT_SECONDS = 40.0  # the same where nobody waits: a bucket may take its time
END_SECONDS = 2.0  # for workers to leave once all is done
FUTILE = 6  # generations in a row without a step: somebody cannot be reached


class Stop:
    """This step was told to end."""


class Conductor:
    """What it knows of its gang, and does about what happens.

    Attributes:
        limiter: says when to stop because of budget or deadline, if there is one.
        scaler: says which size to change to, if the size is its to choose.
    """

    limiter: Limiter | None = None
    scaler: Scaler | None = None

    def __init__(
        self,
        here: Step,
        config: say.WorkerConfig,
        workforce: Workforce,
        coordinator: Coordinator,
        gang: Gang,
    ) -> None:
        """Nothing has happened yet.

        Args:
            here: the train step.
            config: for every worker.
            workforce: the gang's workers.
            coordinator: of the gang.
            gang: that runs.
        """
        self._here, self._config, self._workforce = here, config, workforce
        self._coordinator, self._gang = coordinator, gang
        self._rows = rows_of(here, config.cores)
        self._futile, self._trained = 0, False
        self._stop_at: float | None = None
        self._limited = False
        self._finished: say.Finished | None = None

    def run(self, happened: "queue.Queue[Any]") -> say.Finished:
        """Handle what happens until the training has ended.

        Raises:
            LimitReached: the budget or the deadline was; the gang has saved its state.
            RunError: workers died again and again, or training failed.
            SpecError: it was given bad input.
            SystemExit: this step was told to end, and the gang has saved its state.
        """
        try:
            while self._finished is None:
                if self._stop_at is not None and not self._workforce.alive:
                    break
                until = self._stop_at or self._workforce.queue_until
                wait = math.inf if until is None else until - time.monotonic()
                if wait <= 0:
                    break
                if not self._limited and (left := limiting.due(self.limiter)) < wait:
                    wait = left
                    if left <= 0:
                        self._limit()
                        continue
                if self.scaler and self._stop_at is None:
                    wait = min(wait, self._scale(self.scaler))
                with contextlib.suppress(queue.Empty):
                    self._handle(happened.get(timeout=None if wait == math.inf else wait))
        finally:
            # what is still to be heard: the ends of the workers
            self._coordinator.close()
            self._gang.stop(END_SECONDS if self._finished else 0.0)
            while not happened.empty():
                match event := happened.get():
                    case WorkerChange():
                        self._rows.change(event, replacement=True)
                    case heard.Told() if isinstance(said := say.decode(event.line), say.Saved):
                        self._said(said)
            self._rows.end()
            if self.scaler:
                self.scaler.ended()
        if self._finished is None:
            raise self._unfinished()
        return self._finished

    def _unfinished(self) -> BaseException:
        """Why it has ended before its end."""
        if self._stop_at is None:
            return self._workforce.no_place()
        if self._limited and self.limiter:
            return self.limiter.stop()
        return SystemExit(TERMINATED)

    def _limit(self) -> None:
        """The budget or the deadline is near: a checkpoint, and the end."""
        self._limited = True
        self._stop_at = time.monotonic() + LIMIT_SECONDS
        self._coordinator.stop()
        if not self._trained:
            self._gang.end_soon()

    def _scale(self, scaler: Scaler) -> float:
        """Change to the size that pays, if another does; seconds until the next look."""
        force = self._workforce
        size = scaler.pending(force.kind, force.running, force.target) or scaler.decide()
        if size is not None:
            if self._config.largest_batch:
                self._coordinator.rebatch(size.batch_size)
            if (size.machine_type, size.workers) != (force.kind, force.target):
                kind = "" if size.machine_type == force.kind else size.machine_type
                self._resize(size.workers, kind)
        return scaler.wait_seconds()

    def _handle(self, event: Any) -> None:
        match event:
            case WorkerChange():
                self._changed(event)
            case heard.Told():
                if (message := say.decode(event.line)) is not None:
                    self._said(message)
            case heard.Formed():
                self._formed(event)
            case heard.Observed():
                self._futile = 0
                self._rows.waited(event.worker, event.observation)
                if self.scaler:
                    self.scaler.observed(event.observation)
            case heard.Dropped():
                saying.note(self._here, f"worker {event.worker} was left behind: {event.reason}")
                self._gang.end(event.worker, event.uid)
            case heard.ResizeAsked():
                self._resize(event.workers, event.machine_type)
            case Spending() if self.limiter:
                self.limiter.spent(event)
            case Stop():
                self._limited = False
                self._stop_at = min(self._stop_at or math.inf, time.monotonic() + STOP_SECONDS)
                self._coordinator.stop()
                self._gang.end_soon()

    def _said(self, message: say.Message) -> None:
        if self.limiter:
            self.limiter.progressed(message)
        if self.scaler:
            self.scaler.said(message)
        match message:
            case say.Failed():
                raise (SpecError if message.exit_code == 2 else RunError)(message.message)
            case say.Finished():
                self._finished = message
            case say.Progress():
                self._workforce.deaths = 0
        saying.write(self._here, message)

    def _changed(self, change: WorkerChange) -> None:
        """A worker's process or pod began, waits, or ended."""
        force = self._workforce
        replaces = self._trained and force.is_replacement(change.worker)
        self._rows.change(change, replacement=replaces)
        match change.state:
            case "started":
                force.started(change)
            case "pending":
                force.waits(change)
            case "ended":
                force.alive.pop(change.uid, None)
                self._coordinator.gone(change.worker, change.uid)
                if self._stop_at is None and not self._finished:
                    self._ended(change)
        if self.limiter:
            self.limiter.account.held(force.held())

    def _ended(self, change: WorkerChange) -> None:
        """A worker that is still wanted is replaced; one that was taken away, where that pays."""
        force = self._workforce
        if self.scaler and force.was_taken(change):
            size = self.scaler.lost(force.kind, force.target - 1, change.reason)
            if size is not None:
                self._resize(size.workers, "")
                return
        force.ended(change)

    def _formed(self, formed: heard.Formed) -> None:
        """A generation begins: who is in it works, who is above the target ends."""
        self._futile += 1
        if self._futile > FUTILE:
            raise RunError(
                f"train: expected workers {', '.join(formed.workers)} to train together, got "
                f"{FUTILE} generations without a step; see in their logs who cannot reach whom, "
                f"`make resume RUN={self._here.run_id}` goes on from the last checkpoint"
            )
        if formed.fresh and self._trained:
            self._here.recorder.flush()
            folder = storage.location(self._config.checkpoint_folder)
            count_lost_work(self._here, folder, self._here.attempt + 1)
        self._trained = True
        self._rows.work(formed.workers, formed.generation)
        self._here.event(
            "generation",
            generation=formed.generation,
            workers=list(formed.workers),
            donor=formed.donor,
            fresh=formed.fresh,
        )
        self._workforce.formed(formed.workers)
        if self.scaler:
            workers = len(formed.workers)
            self.scaler.formed(self._workforce.kind, workers, formed.batch_size)

    def _resize(self, workers: int, machine_type: str) -> None:
        before = self._workforce.target
        if not 1 <= workers <= self._config.max_workers:
            saying.note(
                self._here,
                f"resize: expected 1 to {self._config.max_workers} workers (max_workers), got "
                f"{workers}; left at {before}",
            )
            return
        if self._workforce.resize(workers, machine_type):
            self._coordinator.resize(workers)
            if workers > before and not machine_type:
                self._workforce.grow()
