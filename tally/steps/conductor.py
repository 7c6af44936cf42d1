"""The conductor: it hears the coordinator and the gang, and keeps a training going to its end.

Everything that happens comes through one queue: what workers say, what became of their processes
or pods, and what was asked from outside. Each is looked at, decided on and done, one at a time.
"""

import contextlib
import json
import queue
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tally import storage
from tally.errors import RunError, SpecError, TallyError
from tally.steps.lost_work import count_lost_work
from tally.steps.step import TERMINATED, Step
from tally.steps.worker_rows import rows_of
from tally.training import messages as say
from tally.training.coordinator import events as heard
from tally.training.coordinator.server import Coordinator
from tally.training.gang import Gang, WorkerChange, move_and_index

STOP_SECONDS = 1.6  # the workers' last call and a checkpoint, inside submit's two seconds
END_SECONDS = 2.0  # for workers to leave once all is done
FUTILE = 6  # generations in a row without a step: somebody cannot be reached
DEATHS = 3  # of workers in a row, without a step done between them


@dataclass(frozen=True)
class _Stop:
    """This step was told to end."""


def conduct(
    here: Step,
    config: say.WorkerConfig,
    workers: int,
    token: bytes,
    make_gang: Callable[[str], Gang],
    *,
    host: str = "127.0.0.1",
    dataset_folder: Path | None = None,
    queue_seconds: float = 0.0,
) -> say.Finished:
    """Train with a gang to the end.

    Args:
        here: the train step.
        config: for every worker.
        workers: to begin with.
        token: the run's own, which the gang's workers were given.
        make_gang: the gang, from the coordinator's address.
        host: where the coordinator listens.
        dataset_folder: where workers fetch the dataset's files from the coordinator.
        queue_seconds: how long nobody of the gang may have a place to run.

    Raises:
        RunError: workers died again and again, or training failed.
        SpecError: it was given bad input.
        SystemExit: this step was told to end, and the gang has saved its state.
    """
    happened: queue.Queue[Any] = queue.Queue()
    signal.signal(signal.SIGTERM, _putting(happened))
    coordinator = Coordinator(
        token,
        config.as_json(),
        happened.put,
        host=host,
        workers=workers,
        dataset_folder=dataset_folder,
    )
    gang = make_gang(coordinator.address)
    control = here.folder / "conductor.json"
    facts = {"schema": 1, "address": coordinator.address, "token": token.decode()}
    storage.write_secret(control, json.dumps(facts).encode())
    try:
        gang.watch(happened.put)
        gang.start(workers)
        conductor = _Conductor(here, config, workers, coordinator, gang, queue_seconds)
        return conductor.run(happened)
    finally:
        control.unlink(missing_ok=True)
        coordinator.close()
        gang.stop(END_SECONDS)


def _putting(happened: "queue.Queue[Any]") -> Callable[[int, FrameType | None], None]:
    return lambda number, frame: happened.put(_Stop())


class _Conductor:
    """What it knows of its gang."""

    def __init__(
        self,
        here: Step,
        config: say.WorkerConfig,
        workers: int,
        coordinator: Coordinator,
        gang: Gang,
        queue_seconds: float,
    ) -> None:
        self._here, self._config, self._target = here, config, workers
        self._coordinator, self._gang = coordinator, gang
        self._rows = rows_of(here, config.cores)
        self._queue_seconds = queue_seconds
        self._alive: set[str] = set()  # uids
        self._deaths, self._futile, self._trained = 0, 0, False
        self._move, self._moving = 0, False  # to which machine type, counted; whether others live
        self._stop_at: float | None = None
        self._queue_until: float | None = None
        self._waiting = ""  # which worker, and why
        self._finished: say.Finished | None = None

    def run(self, happened: "queue.Queue[Any]") -> say.Finished:
        """Handle what happens until the training has ended."""
        try:
            while self._finished is None:
                if self._stop_at is not None and not self._alive:
                    break
                due = self._stop_at or self._queue_until
                wait = None if due is None else due - time.monotonic()
                if wait is not None and wait <= 0:
                    break
                with contextlib.suppress(queue.Empty):
                    self._handle(happened.get(timeout=wait))
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
        if self._finished is None:
            if self._stop_at is None:
                raise _no_place(self._waiting)
            sys.exit(TERMINATED)
        return self._finished

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
            case heard.Dropped():
                self._note(f"worker {event.worker} was left behind: {event.reason}")
                self._gang.end(event.worker, event.uid)
            case heard.ResizeAsked():
                self._resize(event)
            case _Stop():
                self._stop_at = self._stop_at or time.monotonic() + STOP_SECONDS
                self._coordinator.stop()
                self._gang.end_soon()

    def _said(self, message: say.Message) -> None:
        here = self._here
        match message:
            case say.Progress():
                self._deaths = 0
                here.event(
                    "progress",
                    done=message.done_examples,
                    total=message.total_examples,
                    unit="examples",
                    epoch=message.epoch,
                    loss=message.loss,
                    accuracy=message.accuracy,
                    examples_per_second=message.examples_per_second,
                )
            case say.Started():
                here.event("started", **asdict(message))
            case say.EpochEnd():
                here.event("epoch", **asdict(message))
            case say.Saved():
                here.event("checkpoint", **asdict(message))
            case say.Ready():
                here.event("ready", **asdict(message))
            case say.Note():
                self._note(message.message)
            case say.Failed():
                raise (SpecError if message.exit_code == 2 else RunError)(message.message)
            case say.Finished():
                self._finished = message

    def _changed(self, change: WorkerChange) -> None:
        """A worker's process or pod began, waits, or ended."""
        self._rows.change(change, replacement=self._trained)
        match change.state:
            case "started":
                self._alive.add(change.uid)
                self._queue_until = None
            case "pending":
                self._waits(change)
            case "ended":
                self._alive.discard(change.uid)
                self._coordinator.gone(change.worker, change.uid)
                if self._stop_at is None and not self._finished:
                    self._ended(change)

    def _waits(self, change: WorkerChange) -> None:
        if not change.reason:
            return
        self._waiting = f"worker {change.worker} to start, got {change.reason}"
        if change.fatal:
            raise RunError(f"train: expected {self._waiting}; correct it, then `make resume`")
        if change.cause == "unschedulable" and not self._alive:
            if self._queue_seconds <= 0:
                raise _no_place(self._waiting)
            self._queue_until = self._queue_until or time.monotonic() + self._queue_seconds
        self._note(f"worker {change.worker} waits: {change.reason}")

    def _ended(self, change: WorkerChange) -> None:
        if change.fatal:
            raise RunError(f"train: expected the gang to live, got {change.reason}; `make resume`")
        move, index = move_and_index(change.worker)
        if move != self._move or index >= self._target:
            return
        self._deaths += 1
        if self._deaths >= DEATHS:
            raise RunError(
                f"train: expected worker {change.worker} to finish, got {change.reason}, "
                f"{self._deaths} times without a step between; "
                f"`make resume RUN={self._here.run_id}` goes on from the last checkpoint"
            )
        self._note(f"worker {change.worker} ended: {change.reason}; it is replaced")
        self._gang.resize(self._target)

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
        places = [move_and_index(worker) for worker in formed.workers]
        if all(move == self._move and index < self._target for move, index in places):
            if self._moving:
                self._moving = False
                self._gang.finish_move()
            self._gang.resize(self._target)

    def _resize(self, asked: heard.ResizeAsked) -> None:
        workers = asked.workers
        if not 1 <= workers <= self._config.max_workers:
            self._note(
                f"resize: expected 1 to {self._config.max_workers} workers (max_workers), got "
                f"{workers}; left at {self._target}"
            )
            return
        if asked.machine_type and not self._moved(asked):
            return
        self._here.event(
            "resize", workers=workers, before=self._target, machine_type=asked.machine_type
        )
        growing, self._target = workers > self._target, workers
        self._coordinator.resize(workers)
        if growing and not asked.machine_type:
            self._gang.resize(workers)

    def _moved(self, asked: heard.ResizeAsked) -> bool:
        """Start the workers of another machine type; the coordinator prefers them to the others."""
        try:
            self._gang.move(asked.machine_type, asked.workers)
        except TallyError as error:
            self._note(str(error))
            return False
        self._move, self._moving = self._move + 1, True
        return True

    def _note(self, text: str) -> None:
        self._here.event("note", message=text)


def _no_place(waiting: str) -> RunError:
    return RunError(
        f"train: expected {waiting}; ask for what the cluster has, or give it queue_seconds to "
        "add a node"
    )
