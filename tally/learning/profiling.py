"""A profile of seconds: the run's own training, with its real workers, until its pace is known.

One gang a profile: it begins with the most workers and is resized down, so that one start of
TensorFlow serves all sizes. Nothing of it is kept: no checkpoint, no model. It is made in a process
of its own, `python -m tally.learning.profiling`, which reads what to measure from its input and
prints a line of JSON a size: what quotes needs neither gRPC nor a terminal full of warnings.
"""

import contextlib
import json
import os
import queue
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tally import lifeline
from tally.errors import RunError, SpecError, TallyError
from tally.gang import messages as say
from tally.gang.coordinator import events as heard
from tally.gang.coordinator.server import Coordinator, Limits
from tally.gang.gang import WorkerChange
from tally.gang.local_gang import LocalGang
from tally.learning import order

SETTLE_REPORTS = 3  # of a size's first progress reports that are left out
SIZE_SECONDS = 2.5  # at one size, once it trains
FEWEST_REPORTS = 5
TRIM = 0.1  # of the slowest and of the fastest reports: other programs' bursts
ENDLESS_EPOCHS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Steps of one size.

    Attributes:
        workers: that trained together.
        examples_per_worker: of the one that has most, in a full step.
        step_seconds: of a full step, a trimmed mean.
        spread: standard deviation of parts of the measurement, as a share of step_seconds.
        sync_seconds: of it, in sums over the ranks; None for a lone worker.
        steps: measured.
        start_seconds: from the start of the gang's first process until its first step; 0 where
            this size was not the first.
    """

    workers: int
    examples_per_worker: float
    step_seconds: float
    spread: float
    sync_seconds: float | None
    steps: int
    start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One gang to measure: what its workers do, and with how many of them, most first."""

    config: say.WorkerConfig
    sizes: tuple[int, ...]


def measure(wanted: Sequence[Wanted], seconds: float, size_seconds: float) -> list[list[Measured]]:
    """Profiles in a process of their own, one gang after the other.

    Args:
        wanted: the gangs.
        seconds: for all of it; what is not known then is left out.
        size_seconds: at each size.

    Returns:
        A list for each of `wanted`.

    Raises:
        RunError: a gang ended by itself.
        SpecError: the training was given bad input.
    """
    asked = {
        "wanted": [{"config": one.config.as_json(), "sizes": one.sizes} for one in wanted],
        "until": time.monotonic() + seconds,  # the machine's clock: the same in the other process
        "size_seconds": size_seconds,
        "parent_pid": os.getpid(),
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tally.learning.profiling"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            said, _ = process.communicate(json.dumps(asked))
        finally:
            lifeline.end_group(process.pid, grace_seconds=0.5)
        found: list[list[Measured]] = [[] for _ in wanted]
        for line in said.splitlines():
            row = json.loads(line)
            if message := row.get("failed"):
                raise (SpecError if row["exit_code"] == 2 else RunError)(message)
            found[row.pop("wanted")].append(Measured(**row))
        if process.returncode:
            log.seek(0)
            words = " ".join(log.read().decode(errors="replace").split())[-300:]
            raise RunError(
                f"profile: expected it to end, got exit code {process.returncode}: {words}"
            )
    return found


def profile(
    config: say.WorkerConfig, sizes: Sequence[int], seconds: float, size_seconds: float
) -> list[Measured]:
    """Train for moments with each number of workers, largest first.

    Args:
        config: of the run's workers; its folders are not used, its batch and cores are.
        sizes: numbers of workers, descending.
        seconds: after which the profile ends with the sizes that it has.
        size_seconds: at each size.

    Raises:
        RunError: the gang ended by itself.
        SpecError: the training was given bad input: a model that cannot train on the dataset.
    """
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="tally-profile-") as scratch:
        ours = replace(
            config,
            epochs=ENDLESS_EPOCHS,
            checkpoint_folder=str(Path(scratch) / "checkpoints"),
            checkpoint_seconds=float(ENDLESS_EPOCHS),
            model_folder=str(Path(scratch) / "model"),
        )
        found = []
        with _gang(ours, Path(scratch), max(sizes)) as (coordinator, happened):
            began = time.monotonic()
            for workers in sizes:
                if workers != max(sizes):
                    coordinator.resize(workers)
                size = _Size(ours, workers)
                if not size.hear(happened, deadline, size_seconds):
                    break
                start = size.formed_at - began if workers == max(sizes) else 0.0
                found.append(size.measured(start))
        return found


@contextlib.contextmanager
def _gang(
    config: say.WorkerConfig, scratch: Path, workers: int
) -> Iterator[tuple[Coordinator, "queue.Queue[Any]"]]:
    """A gang that trains; it is killed at the end, since nothing of it is wanted."""
    happened: queue.Queue[Any] = queue.Queue()
    token = secrets.token_hex(32).encode()
    token_file = scratch / "token"
    token_file.touch(mode=0o600)
    token_file.write_bytes(token)
    limits = Limits(heartbeat_seconds=0.1)
    coordinator = Coordinator(token, config.as_json(), happened.put, workers=workers, limits=limits)
    gang = LocalGang(
        {"TALLY_COORDINATOR": coordinator.address, "TALLY_TOKEN_FILE": str(token_file)}
    )
    try:
        gang.watch(happened.put)
        gang.start(workers)
        yield coordinator, happened
    finally:
        gang.stop(0.0)
        coordinator.close(0.0)


class _Size:
    """What is heard of one size."""

    def __init__(self, config: say.WorkerConfig, workers: int) -> None:
        self._config, self._workers = config, workers
        self.formed_at = 0.0
        self._reports: list[tuple[int, float]] = []  # examples done until then, seconds an example
        self._heard = 0
        self._syncs: list[float] = []

    def hear(self, happened: "queue.Queue[Any]", deadline: float, size_seconds: float) -> bool:
        """Listen until this size is known; False when the time is over before."""
        until = deadline
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                self._take(happened.get(timeout=left))
            if self._heard == SETTLE_REPORTS and until == deadline:
                until = min(deadline, time.monotonic() + size_seconds)
        return len(self._reports) >= FEWEST_REPORTS

    def _take(self, event: Any) -> None:
        match event:
            case heard.Formed() if len(event.workers) == self._workers:
                self.formed_at = time.monotonic()
            case heard.Observed() if self.formed_at and self._heard >= SETTLE_REPORTS:
                self._syncs.append(event.observation.sync_seconds)
            case heard.Told():
                self._said(say.decode(event.line))
            case WorkerChange() if event.state == "ended" and event.exit_code != 0:
                raise RunError(
                    f"profile: expected worker {event.worker} to train for some seconds, got "
                    f"{event.reason}; submit the run to see its log"
                )

    def _said(self, message: say.Message | None) -> None:
        match message:
            case say.Progress() if self.formed_at:
                self._heard += 1
                if self._heard > SETTLE_REPORTS and message.examples_per_second > 0:
                    seconds = 1 / message.examples_per_second
                    self._reports.append((message.done_examples, seconds))
            case say.Failed():
                raise (SpecError if message.exit_code == 2 else RunError)(message.message)

    def measured(self, start_seconds: float) -> Measured:
        """The pace of what was heard."""
        batch, config = self._config.batch_size, self._config
        paces = trimmed([pace for _, pace in self._reports])
        blocks = [statistics.fmean(paces_of) for paces_of in _blocks(paces)]
        mean = statistics.fmean(paces)
        first, last = self._reports[0][0], self._reports[-1][0]
        return Measured(
            workers=self._workers,
            examples_per_worker=order.largest_share(batch, self._workers, config.virtual_shards),
            step_seconds=mean * batch,
            spread=statistics.pstdev(blocks) / mean,
            sync_seconds=statistics.median(self._syncs)
            if self._workers > 1 and self._syncs
            else None,
            steps=max(1, (last - first) // batch),
            start_seconds=start_seconds,
        )


def trimmed(values: Sequence[float], share: float = TRIM) -> list[float]:
    """The values, in their order, without the largest and the smallest `share` of them."""
    cut = int(len(values) * share)
    if not cut:
        return list(values)
    low, high = sorted(values)[cut], sorted(values)[-cut - 1]
    return [value for value in values if low <= value <= high]


def _blocks(values: Sequence[float], count: int = 5) -> list[Sequence[float]]:
    """Neighbours together, in so many parts at most."""
    size = -(-len(values) // min(count, len(values)))
    return [values[begin : begin + size] for begin in range(0, len(values), size)]


def main() -> int:
    """Measure what stands on the input; errors are lines of the output too."""
    asked = json.loads(sys.stdin.read())
    lifeline.when_gone(int(asked["parent_pid"]), lambda: os._exit(1))
    try:
        for index, one in enumerate(asked["wanted"]):
            config = say.WorkerConfig.from_json(one["config"])
            config = replace(config, parent_pid=os.getpid())
            left = asked["until"] - time.monotonic()
            for size in profile(config, one["sizes"], left, asked["size_seconds"]):
                print(json.dumps({"wanted": index, **asdict(size)}), flush=True)
    except TallyError as error:
        print(json.dumps({"failed": str(error), "exit_code": error.exit_code}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
