"""Small datasets, configs and worker processes for the tests of training."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tally.data.format import Chunk, Content, Meta, open_dataset, write
from tally.gang.coordinator.events import Told
from tally.gang.coordinator.server import Coordinator
from tally.gang.messages import Finished, Message, WorkerConfig, decode

CLASSES = ("square", "cross", "line")
TOKEN = b"a-token-of-this-test"
EXAMPLES = 1003  # no multiple of any batch size used: the last batch is smaller


def pictures(folder: Path, examples: int = EXAMPLES) -> Path:
    """12 × 12 pictures of three classes that a network can learn, noisy enough to take a while."""
    meta = Meta("shapes", "image", (12, 12, 1), "uint8", 1 / 255, CLASSES)
    random = np.random.default_rng(5)
    shapes = random.integers(0, 200, (3, 12, 12, 1))
    y = np.arange(examples, dtype=np.int32) % 3
    x = (shapes[y] + random.integers(0, 55, (examples, 12, 12, 1))).astype(np.uint8)
    return made(folder, meta, x, y)


def words(folder: Path) -> Path:
    """Texts of up to 8 tokens, two classes."""
    meta = Meta("words", "tokens", (8,), "int32", 1, ("a", "b"), ("", "?", *"abcdefgh"))
    random = np.random.default_rng(6)
    x = random.integers(1, 10, (EXAMPLES, 8)).astype(np.int32)
    x[np.arange(8) >= random.integers(1, 9, (EXAMPLES, 1))] = 0
    return made(folder, meta, x, (x[:, 0] % 2).astype(np.int32))


def made(folder: Path, meta: Meta, x: np.ndarray, y: np.ndarray) -> Path:
    def chunks() -> Iterator[Chunk]:
        yield Chunk("train", x, y)
        yield Chunk("test", x[:60], y[:60])

    write(folder, Content(meta, chunks), {"name": meta.name})
    return folder


def fingerprint(dataset: Path) -> str:
    """Of a dataset folder; "" where there is none yet."""
    return open_dataset(dataset).fingerprint if (dataset / "dataset.json").exists() else ""


def config(folder: Path, dataset: Path, **changes: object) -> WorkerConfig:
    """A worker's config with everything below `folder`."""
    values = {
        "dataset": str(dataset), "dataset_fingerprint": fingerprint(dataset),
        "model": "cnn", "epochs": 3, "batch_size": 32, "learning_rate": 0.001, "seed": 3,
        "checkpoint_folder": str(folder / "checkpoints"), "checkpoint_seconds": 3600.0,
        "model_folder": str(folder / "model"), "parent_pid": os.getpid(),
    }  # fmt: skip
    return WorkerConfig(**{**values, **changes})


class Crew:
    """Real worker processes with a real coordinator, and what they say."""

    def __init__(self, folder: Path, given: WorkerConfig, workers: int = 1) -> None:
        self.given, self.log = given, folder / "log"
        self.happened: queue.Queue[object] = queue.Queue()
        self.coordinator = Coordinator(TOKEN, given.as_json(), self.happened.put, workers=workers)
        token = folder / "token"
        token.write_bytes(TOKEN)
        self.environment = {
            "TALLY_COORDINATOR": self.coordinator.address, "TALLY_TOKEN_FILE": str(token)
        }  # fmt: skip
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for index in range(workers):
            self.start(index)

    def start(self, index: int) -> subprocess.Popen[bytes]:
        """One more worker, or a new life of one."""
        with open(self.log, "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tally.learning.worker"],
                env={**os.environ, **self.environment, "TALLY_WORKER": str(index)},
                stdout=output,
                stderr=output,
            )
        self.processes[str(index)] = process
        threading.Thread(target=self._wait, args=(str(index), process), daemon=True).start()
        return process

    def _wait(self, worker: str, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self.happened.put(Ended(worker, process))
        self.coordinator.gone(worker, f"local:{process.pid}")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The only worker's."""
        (process,) = self.processes.values()
        return process

    def events(self, timeout_seconds: float = 240.0) -> Iterator[object]:
        """What happens, until every worker's process has ended; decoded messages as such."""
        alive = set(self.processes.values())
        deadline = time.monotonic() + timeout_seconds
        while alive:
            event = self._next(deadline)
            if isinstance(event, Ended):
                alive.discard(event.process)
                alive |= {p for p in self.processes.values() if p.poll() is None}
            yield event
            if isinstance(event, Finished):
                self.coordinator.close()

    def _next(self, deadline: float) -> object:
        try:
            event = self.happened.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"nothing happened: {self.log.read_text()}") from None
        return (decode(event.line) or event) if isinstance(event, Told) else event

    def messages(self) -> Iterator[Message]:
        """What workers say, until every process has ended."""
        yield from (event for event in self.events() if isinstance(event, Message))

    def until(self, kind: type, *, where: Callable[[Any], bool] = lambda event: True) -> Any:
        """The next event or message of a kind."""
        for event in self.events():
            if isinstance(event, kind) and where(event):
                return event
        raise AssertionError(f"no {kind.__name__}: {self.log.read_text()}")


@dataclass(frozen=True)
class Ended:
    """A worker's process has ended."""

    worker: str
    process: "subprocess.Popen[bytes]"


@contextlib.contextmanager
def crew(folder: Path, given: WorkerConfig, workers: int = 1) -> Iterator[Crew]:
    """Start workers; they are gone when the block is left."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Crew(folder, given, workers)
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()
        made.coordinator.close()


worker = crew


def finished(folder: Path, given: WorkerConfig, workers: int = 1) -> list[Message]:
    """Run workers to their end; their messages."""
    with crew(folder, given, workers) as running:
        said = list(running.messages())
        for process in running.processes.values():
            assert process.wait(timeout=60) == 0, running.log.read_text() + json.dumps(
                [asdict(message) for message in said[-3:]]
            )
    return said
