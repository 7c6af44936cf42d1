"""Small datasets, configs and worker processes for the tests of training."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

from tally.data.format import Chunk, Content, Meta, write
from tally.training.messages import Message, WorkerConfig, decode

CLASSES = ("square", "cross", "line")
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


def config(folder: Path, dataset: Path, **changes: object) -> WorkerConfig:
    """A worker's config with everything below `folder`."""
    values = {
        "dataset_folder": str(dataset), "model": "cnn", "epochs": 3, "batch_size": 32,
        "learning_rate": 0.001, "seed": 3, "checkpoint_folder": str(folder / "checkpoints"),
        "checkpoint_seconds": 3600.0, "model_folder": str(folder / "model"),
        "parent_pid": os.getpid(),
    }  # fmt: skip
    return WorkerConfig(**{**values, **changes})


@dataclass
class Worker:
    """A real worker process and what it says."""

    process: subprocess.Popen[bytes]
    lines: IO[bytes]
    log: Path

    def messages(self) -> Iterator[Message]:
        """Each message as it comes, until the process lets go of the pipe."""
        for line in self.lines:
            message = decode(line)
            if message is not None:
                yield message

    def until(self, kind: type[Message]) -> Message:
        """The next message of a kind."""
        for message in self.messages():
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__}: {self.log.read_text()}")


@contextlib.contextmanager
def worker(folder: Path, given: WorkerConfig) -> Iterator[Worker]:
    """Start a worker; it is gone when the block is left."""
    folder.mkdir(parents=True, exist_ok=True)
    given.write(folder / "config.json")
    read, write_end = os.pipe()
    command = [sys.executable, "-m", "tally.training.worker"]
    log = folder / "log"
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [*command, str(folder / "config.json"), str(write_end)],
            pass_fds=[write_end],
            stdout=output,
            stderr=output,
        )
    os.close(write_end)
    with os.fdopen(read, "rb") as lines:
        try:
            yield Worker(process, lines, log)
        finally:
            process.kill()
            process.wait()


def finished(folder: Path, given: WorkerConfig) -> list[Message]:
    """Run a worker to its end; its messages."""
    with worker(folder, given) as running:
        said = list(running.messages())
        assert running.process.wait(timeout=60) == 0, running.log.read_text() + json.dumps(
            [asdict(message) for message in said[-3:]]
        )
    return said
