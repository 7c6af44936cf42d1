"""What the conductor tells a worker (its config) and what a worker tells back, JSON lines."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tally.errors import SpecError, check_schema
from tally.parameters import TrainingParameters

SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class WorkerConfig(TrainingParameters):
    """What every worker of a gang is to do; the coordinator hands it out.

    Attributes:
        dataset: the dataset folder, a store's URL of one, or "coordinator:" to stream it.
        dataset_fingerprint: of its content.
        max_workers: the most there may ever be: shapes up to that are compiled beforehand.
        largest_batch: the global batch may grow up to so many examples; 0 where it is fixed.
        start_weights: a path or URL of weights to begin with; "": new ones.
        cores: threads a worker computes with; 0 for all of the machine.
        checkpoint_folder: a path or URL where checkpoints are looked for and kept.
        model_folder: a path or URL where the trained model goes.
        parent_pid: a local conductor; the worker ends when it is gone. 0 on another machine.
        silent_seconds: how long a peer may say nothing in the middle of a step.
    """

    dataset: str
    dataset_fingerprint: str
    checkpoint_folder: str
    model_folder: str
    max_workers: int = 1
    largest_batch: int = 0
    start_weights: str = ""
    cores: int = 0
    parent_pid: int = 0
    silent_seconds: float = 30.0

    def as_json(self) -> dict[str, Any]:
        """As JSON values, for `from_json`."""
        return {"schema": SCHEMA, **asdict(self)}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "WorkerConfig":
        """Read what `as_json` made.

        Raises:
            SchemaError: a newer Tally made it.
            SpecError: it is no worker's config.
        """
        check_schema("the worker's config", int(values.get("schema", 0)), SCHEMA)
        names = [one.name for one in fields(WorkerConfig)]
        if missing := [name for name in names if name not in values]:
            raise SpecError(
                f"the worker's config: expected all of a training's, got no {', '.join(missing)}; "
                "start conductor and workers from the same Tally"
            )
        return WorkerConfig(**{name: values[name] for name in names})


@dataclass(frozen=True)
class Ready:
    """A worker has loaded, built and traced all; `startup_seconds` says what took how long."""

    startup_seconds: Mapping[str, float]
    parameters: int


@dataclass(frozen=True)
class Started:
    """Training begins here without a survivor of an earlier generation.

    `resumed_from_microseconds` is when the checkpoint it goes on from was saved.
    """

    epoch: int
    offset: int
    resumed_from_microseconds: int | None


@dataclass(frozen=True)
class Progress:
    """How far the whole training is; the loss and the task's figures are the epoch's so far.

    `done_examples` is progress, in examples at the user's batch; `trained_examples` is how many
    were computed for it, more where the batch has grown.
    """

    done_examples: int
    total_examples: int
    epoch: int
    loss: float
    figures: Mapping[str, float]
    examples_per_second: float
    trained_examples: int = 0


@dataclass(frozen=True)
class EpochEnd:
    """An epoch (from 0) is done: its loss, the task's figures, its seconds over all lives.

    Its JSON has a figure beside the rest, by its name.
    """

    epoch: int
    loss: float
    seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """In one level: checkpoints, events and training.json have it so."""
        return {
            "epoch": self.epoch, "loss": self.loss, "seconds": self.seconds, **self.figures
        }  # fmt: skip

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "EpochEnd":
        """Read what `as_json` made: what is none of its own is a figure."""
        own = {name: values[name] for name in ("epoch", "loss", "seconds")}
        return EpochEnd(**own, figures={k: v for k, v in values.items() if k not in own})


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
    """All epochs are done and the model is written; loss and figures are the last epoch's."""

    examples_trained: int
    loss: float
    seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)


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
