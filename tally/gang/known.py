"""What a conductor knows of its training, and what it is told. Pure: no clock, no I/O."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tally.gang import messages as say
from tally.gang.coordinator.events import Event
from tally.gang.gang import Size, WorkerChange, move_and_index

Why = Literal["finished", "failed", "bad input", "limit", "told"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for, of all of a training.

    Attributes:
        run_id: whose.
        max_workers: the most there may ever be.
        queue_seconds: how long nobody of the gang may have a place to run.
        rebatches: the global batch may change.
    """

    run_id: str
    max_workers: int
    queue_seconds: float = 0.0
    rebatches: bool = False


@dataclass(frozen=True)
class Stopping:
    """An end in good order that was ordered: why first, and until when it may take."""

    why: Why
    until_seconds: float


class Advice(Protocol):
    """What the policy says (scaling.policy.Decision): of it rules read this much."""

    @property
    def size(self) -> Size:
        """To go on at."""

    @property
    def reason(self) -> str:
        """Why."""


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """What is known of a size that is Tally's to choose.

    Attributes:
        batch_size: the global batch, in examples.
        now: the newest generation's size; None before there is one.
        wanted: what the policy said last.
        stayed: whether it was written that the size stays as it is.
        ordered_seconds: when the last change was ordered, or all of it last had a place; None once
            it trains so, or was given up.
        next_seconds: when the policy is asked again.
    """

    batch_size: int
    now: Size | None = None
    wanted: Size | None = None
    stayed: bool = False
    ordered_seconds: float | None = None
    next_seconds: float = 0.0


@dataclass(frozen=True)
class End:
    """Why it is over: the first cause. `message` of what failed, `finished` of what did not."""

    why: Why
    message: str = ""
    finished: say.Finished | None = None


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything the conductor knows of its gang.

    Attributes:
        asked: what was asked for.
        target: how many workers there are to be.
        machine_types: of the workers, by move: of the catalogue, "local" for processes here, "" for
            pods of none of it.
        alive: the lives (uids) of processes and pods that run, each with its worker's name.
        died: names whose next life replaces one that was still wanted.
        waiting: which worker has no place, and why.
        queue_until_seconds: a moment until which nobody may have a place; None where somebody has
            one.
        moving: whether workers of an earlier move live.
        enlarged_bytes: a worker's memory since the first OOM kill; 0 before.
        deaths: of workers in a row, without a step done between them.
        futile: generations in a row without a step.
        trained: whether there has been a generation.
        sizing: of a size that is Tally's to choose; None where it stays as it is asked for.
        stopping: an end was ordered.
        over: nothing is done any more.
    """

    asked: Asked
    target: int
    machine_types: tuple[str, ...] = ("",)
    alive: Mapping[str, str] = field(default_factory=dict)
    died: frozenset[str] = frozenset()
    waiting: str = ""
    queue_until_seconds: float | None = None
    moving: bool = False
    enlarged_bytes: int = 0
    deaths: int = 0
    futile: int = 0
    trained: bool = False
    sizing: Sizing | None = None
    stopping: Stopping | None = None
    over: End | None = None

    @property
    def kind(self) -> str:
        """The machine type of the workers that there are to be; "" for none of the catalogue."""
        return self.machine_types[-1]

    @property
    def running(self) -> int:
        """How many of those that there are to be run."""
        return sum(self.wanted([worker]) for worker in set(self.alive.values()))

    @property
    def held(self) -> dict[str, int]:
        """How many run, by machine type."""
        moves = [move_and_index(worker)[0] for worker in self.alive.values()]
        return dict(Counter(self.machine_types[move] for move in moves))

    def wanted(self, workers: Sequence[str]) -> bool:
        """Whether all of these are below the target and on the newest machine type."""
        places = [move_and_index(worker) for worker in workers]
        newest = len(self.machine_types) - 1
        return all(move == newest and index < self.target for move, index in places)

    def replaces(self, worker: str) -> bool:
        """Whether a worker that starts now does so because one that trained and was still wanted
        has ended; who is added by a resize does not."""
        return self.trained and worker in self.died


@dataclass(frozen=True)
class Look:
    """Time has passed; so many seconds are left until a limit needs the training to stop."""

    limit_seconds: float


@dataclass(frozen=True)
class Stop:
    """This step was told to end."""


@dataclass(frozen=True)
class Weighed:
    """What the policy says now, or None: after this end, with the size without that worker."""

    advice: Advice | None
    change: WorkerChange | None = None
    size: Size | None = None


@dataclass(frozen=True)
class Moved:
    """So many workers start on another machine type, or why they do not."""

    machine_type: str
    workers: int
    refused: str = ""


@dataclass(frozen=True)
class Enlarged:
    """After this OOM kill, what each worker may hold from now on: 0 where there is no more."""

    change: WorkerChange
    memory_bytes: int
    refused: str = ""


Input = Event | say.Message | WorkerChange | Look | Stop | Weighed | Moved | Enlarged
