"""What a conductor can do, as its rules order it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tally.gang.coordinator.events import Formed
from tally.gang.gang import Size, WorkerChange
from tally.gang.known import Advice, State


@dataclass(frozen=True)
class Write:
    """Write an event of the run's."""

    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Work:
    """These train from now on; at this size, where that is Tally's to choose."""

    formed: Formed
    size: Size | None


@dataclass(frozen=True)
class CountLost:
    """Count what is done again: the newest generation begins from a checkpoint."""


@dataclass(frozen=True)
class Gone:
    """Tell the coordinator that this life has ended."""

    worker: str
    uid: str


@dataclass(frozen=True)
class Members:
    """Have the coordinator take so many members."""

    workers: int


@dataclass(frozen=True)
class Rebatch:
    """Have the coordinator order another global batch, in examples."""

    batch_size: int


@dataclass(frozen=True)
class Checkpoint:
    """Have the last members save a checkpoint and end."""


@dataclass(frozen=True)
class Have:
    """Have the gang run so many workers: who ended is replaced."""

    workers: int


@dataclass(frozen=True)
class EndLife:
    """End one life of a worker that does not end by itself."""

    worker: str
    uid: str


@dataclass(frozen=True)
class Move:
    """Start so many workers on another machine type; answered with Moved."""

    machine_type: str
    workers: int


@dataclass(frozen=True)
class Enlarge:
    """Start so many workers with more memory after this OOM kill; answered with Enlarged."""

    change: WorkerChange
    workers: int


@dataclass(frozen=True)
class FinishMove:
    """End the workers of all moves but the newest."""


@dataclass(frozen=True)
class EndSoon:
    """Have all workers end in good order."""


@dataclass(frozen=True)
class Weigh:
    """Ask the policy, at this size after this end where there is one; answered with Weighed."""

    change: WorkerChange | None = None
    size: Size | None = None


@dataclass(frozen=True)
class Decided:
    """Write a decision about the size, and what it rests on where the policy made it."""

    before: Size
    after: Size
    reason: str
    advice: Advice | None = None


@dataclass(frozen=True)
class Changed:
    """Have the policy know that this is done: what it saves is measured from here on."""

    before: Size
    advice: Advice


@dataclass(frozen=True)
class GiveUp:
    """Have the policy know that no more workers than these have a place."""

    machine_type: str
    workers: int


Action = (
    Write | Work | CountLost | Gone | Members | Rebatch | Checkpoint | Have | EndLife | Move
    | Enlarge | FinishMove | EndSoon | Weigh | Decided | Changed | GiveUp
)  # fmt: skip
Outcome = tuple[State, list[Action]]


def note(message: str) -> Write:
    """Something that the user should read, but that ends nothing."""
    return Write("note", {"message": message})
