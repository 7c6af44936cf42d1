"""What the coordinator orders and what it tells the conductor. Imports no gRPC."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tally.errors import RunError
from tally.gang.collective import Membership

Reason = Literal["dismissed", "dropped", "finished", "refused"]


class CoordinatorLost(RunError):
    """The coordinator has not answered for too long; the worker ends with exit code 75."""

    exit_code = 75


@dataclass(frozen=True)
class Generation:
    """The order to train on, or to stop, as one of its members gets it.

    Attributes:
        membership: the generation, this worker's rank, all addresses, the key.
        donor: the rank whose state all take over.
        fresh: nobody has state: the donor starts from the newest checkpoint.
        order: "stop" forms nothing: the donor saves a checkpoint, then all end.
        batch_size: the global batch from now on, in examples; 0 leaves it as it is.
    """

    membership: Membership
    donor: int
    fresh: bool
    order: Literal["train", "stop"]
    batch_size: int = 0


@dataclass(frozen=True)
class End:
    """This worker is no longer needed, or no longer wanted; `message` is for its log."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Observation:
    """What a worker measured over its last steps; nan where it is not known."""

    generation: int
    step: int
    examples_per_second: float
    step_seconds: float
    sync_seconds: float
    wait_seconds: float
    loss: float
    gradient_noise_scale: float


@dataclass(frozen=True)
class Joined:
    """A worker has come; it is a member only once it is ready."""

    worker: str
    uid: str


@dataclass(frozen=True)
class Ready:
    """A worker has built and warmed everything."""

    worker: str
    uid: str


@dataclass(frozen=True)
class Formed:
    """A generation trains from now on; `workers` by rank, `donor` a rank, `batch_size` ordered."""

    generation: int
    workers: tuple[str, ...]
    donor: int
    fresh: bool
    batch_size: int = 0


@dataclass(frozen=True)
class Observed:
    """A member's newest observation."""

    worker: str
    observation: Observation


@dataclass(frozen=True)
class Told:
    """One message line of a worker, each exactly once, in order."""

    worker: str
    line: bytes


@dataclass(frozen=True)
class Left:
    """A worker is out in good order: dismissed, finished, stopped."""

    worker: str
    uid: str
    reason: str


@dataclass(frozen=True)
class Dropped:
    """A worker is out because it is gone, silent, or does not do what it was told."""

    worker: str
    uid: str
    reason: str


@dataclass(frozen=True)
class Rested:
    """All living members of a generation rest; the committed step of each."""

    generation: int
    steps: Mapping[str, int]


@dataclass(frozen=True)
class Empty:
    """Members existed and none is left; the coordinator waits for new ones."""


@dataclass(frozen=True)
class ResizeAsked:
    """Somebody outside asked for another number of workers; the conductor decides.

    A machine type of "" leaves them on theirs.
    """

    workers: int
    machine_type: str = ""


Event = (
    Joined | Ready | Formed | Observed | Told | Left | Dropped | Rested | Empty | ResizeAsked
)  # fmt: skip
