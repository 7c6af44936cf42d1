"""What the conductor tells a worker (its config) and what a worker tells back, JSON lines."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tally.errors import check_schema

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """What one worker is to do.

    Attributes:
        dataset_folder: made by prepare.
        model: a packaged model's name or the path of a user's file.
        epochs, batch_size, learning_rate, seed, checkpoint_seconds: as in tally.spec.
        checkpoint_folder: where checkpoints are looked for and kept.
        model_folder: where the trained model goes.
        parent_pid: the conductor; the worker ends when it is gone.
    """

    dataset_folder: str
    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    checkpoint_folder: str
    checkpoint_seconds: float
    model_folder: str
    parent_pid: int

    def write(self, path: Path) -> None:
        """Write it as JSON for `read`."""
        path.write_text(json.dumps({"schema": SCHEMA, **asdict(self)}))

    @staticmethod
    def read(path: Path) -> "WorkerConfig":
        """Read what `write` wrote.

        Raises:
            SchemaError: a newer Tally wrote it.
        """
        values = json.loads(path.read_text())
        check_schema(str(path), int(values.pop("schema")), SCHEMA)
        return WorkerConfig(**values)


@dataclass(frozen=True)
class Ready:
    """Everything is loaded, built and traced; `startup_seconds` says what took how long."""

    startup_seconds: Mapping[str, float]
    parameters: int


@dataclass(frozen=True)
class Started:
    """The first step begins here; `resumed_from_microseconds` is when the checkpoint was saved."""

    epoch: int
    offset: int
    resumed_from_microseconds: int | None


@dataclass(frozen=True)
class Progress:
    """How far the whole training is; loss and accuracy are the epoch's so far."""

    done_examples: int
    total_examples: int
    epoch: int
    loss: float
    accuracy: float
    examples_per_second: float


@dataclass(frozen=True)
class EpochEnd:
    """An epoch (from 0) is done: mean training loss and accuracy, its seconds over all lives."""

    epoch: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on disk: the next example would be `offset` of `epoch`."""

    epoch: int
    offset: int
    saved_at_microseconds: int


@dataclass(frozen=True)
class Stopped:
    """Ended before the end because it was asked to, after a checkpoint if anything was trained."""

    epoch: int
    offset: int
    examples_trained: int


@dataclass(frozen=True)
class Finished:
    """All epochs are done and the model is written; loss and accuracy are the last epoch's."""

    examples_trained: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Failed:
    """The run cannot go on: the one line for the user."""

    message: str
    exit_code: int


@dataclass(frozen=True)
class Note:
    """Something that the user should read, but that ends nothing."""

    message: str


Message = (
    Ready | Started | Progress | EpochEnd | Saved | Stopped | Finished | Failed | Note
)  # fmt: skip
_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (Ready, Started, Progress, EpochEnd, Saved, Stopped, Finished, Failed, Note)
}


def encode(message: Message) -> bytes:
    """One line of JSON."""
    row = {"message_kind": type(message).__name__, **asdict(message)}
    return (json.dumps(row) + "\n").encode()


def decode(line: bytes) -> Message | None:
    """The message of one line; None for a line cut short by a kill."""
    try:
        row = json.loads(line)
        return _KINDS[row.pop("message_kind")](**row)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
