"""train: the conductor. It starts the worker, reads what it says, keeps its usage, ends with it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tally import clock, storage
from tally.costing.ledger import open_ledger
from tally.costing.merge import split_lost
from tally.costing.usage import Usage
from tally.data.format import open_dataset
from tally.errors import RunError, SpecError, TallyError
from tally.spec import Spec
from tally.steps.recorder import local_usage
from tally.steps.step import TERMINATED, Step, step
from tally.training import checkpoint
from tally.training import messages as say

STOP_SECONDS = 1.6  # a worker's last call and its checkpoint, inside submit's two seconds


@dataclass(frozen=True)
class Trained:
    """The folder with the model, and what there is to know of the training."""

    folder: Path
    facts: dict[str, float]


def run(dataset_folder: str, spec: dict[str, Any]) -> Trained:
    """The train step.

    Args:
        dataset_folder: from prepare.
        spec: the validated parameters.

    Raises:
        SystemExit: training failed or was ended; told in the run's events.
    """
    with step("train", cores=0) as here:
        asked = Spec.model_validate(spec)
        dataset = open_dataset(Path(dataset_folder), verify=["train"])
        checkpoints = storage.checkpoint_folder(here.run_id)
        if here.attempt > 1:
            _count_lost_work(here, checkpoints)
        config = say.WorkerConfig(
            dataset_folder=str(dataset.folder),
            model=asked.model,
            epochs=asked.epochs,
            batch_size=asked.batch_size,
            learning_rate=asked.learning_rate,
            seed=asked.seed,
            checkpoint_folder=str(checkpoints),
            checkpoint_seconds=asked.checkpoint_seconds,
            model_folder=str(here.folder / "model"),
            parent_pid=os.getpid(),
        )
        finished = _conduct(here, config)
        facts = {
            "examples_trained": finished.examples_trained,
            "train_loss": finished.loss,
            "train_accuracy": finished.accuracy,
            "train_seconds": finished.seconds,
        }
        open_ledger().update_run(here.run_id, examples_trained=finished.examples_trained)
    return Trained(here.folder / "model", facts)


def _count_lost_work(here: Step, checkpoints: Path) -> None:
    """What earlier lives did after the checkpoint is done again: it becomes `restart`."""
    ledger = open_ledger()
    saved = checkpoint.latest(checkpoints, lambda said: here.event("note", message=said))
    rows = ledger.usage([here.run_id])
    ledger.write_usage(
        split_lost(
            rows, here.run_id, here.name, saved.saved_at_microseconds if saved else None,
            here.attempt,
        )
    )  # fmt: skip


def _conduct(here: Step, config: say.WorkerConfig) -> say.Finished:
    """Run one worker to its end.

    Raises:
        RunError: it died, or training failed; SpecError: it was given bad input.
        SystemExit: this step was told to end, and the worker has saved its state.
    """
    path = here.folder / f"worker-{here.attempt}.json"
    config.write(path)
    process, messages = _start(path)
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    rows = _WorkerRows(here, process.pid)
    last: say.Message | None = None
    failed: TallyError | None = None
    for message in messages:
        last = message
        match message:
            case say.Started():
                rows.work_begins()
                here.event("started", **asdict(message))
            case say.Progress():
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
            case say.EpochEnd():
                here.event("epoch", **asdict(message))
            case say.Saved():
                here.event("checkpoint", **asdict(message))
            case say.Ready():
                here.event("ready", **asdict(message))
            case say.Note():
                here.event("note", message=message.message)
            case say.Failed():
                failed = (SpecError if message.exit_code == 2 else RunError)(message.message)
    status, cpu_seconds = _reap(process, stopping)
    rows.end(cpu_seconds)
    if stopping:
        sys.exit(TERMINATED)
    if failed is not None:
        raise failed
    if not isinstance(last, say.Finished):
        raise RunError(
            f"train: expected worker 0 to finish, got {_reason(status)}; "
            f"`make resume RUN={here.run_id}` goes on from the last checkpoint"
        )
    return last


def _start(config: Path) -> tuple[subprocess.Popen[bytes], Iterator[say.Message]]:
    """A worker in this step's process group, and its messages until it ends."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "tally.training.worker", str(config), str(writing)],
        pass_fds=[writing],
        stdin=subprocess.DEVNULL,
    )
    os.close(writing)
    lines = os.fdopen(reading, "rb")
    return process, (said for line in lines if (said := say.decode(line)) is not None)


def _reap(process: subprocess.Popen[bytes], stopping: bool) -> tuple[int, float]:
    """Wait for the worker's end; its exit status and its life's CPU seconds, exactly."""
    if stopping:
        signal.signal(signal.SIGALRM, lambda number, frame: process.kill())
        signal.setitimer(signal.ITIMER_REAL, STOP_SECONDS)
    _, status, usage = os.wait4(process.pid, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime


def _reason(status: int) -> str:
    if status >= 0:
        return f"exit code {status} (see its log)"
    if -status == signal.SIGKILL:
        return "SIGKILL (killed by hand, or out of memory)"
    return signal.Signals(-status).name


class _WorkerRows:
    """The worker's usage: its start until the first step, then its work."""

    def __init__(self, here: Step, pid: int) -> None:
        self._here, self._pid = here, pid
        self._row = self._open(here.start_phase)

    def work_begins(self) -> None:
        now = clock.now_microseconds()
        self._here.recorder.close(self._row, now)
        self._row = self._open("work", now)

    def end(self, cpu_seconds: float) -> None:
        self._here.recorder.close(self._row, clock.now_microseconds(), cpu_seconds)

    def _open(self, phase: Any, start: int | None = None) -> Usage:
        row = local_usage(
            step=self._here.name,
            worker="0",
            pid=self._pid,
            container="worker",
            phase=phase,
            start=clock.now_microseconds() if start is None else start,
            cores=float(os.cpu_count() or 1),
        )
        return self._here.recorder.open(row, self._pid)
