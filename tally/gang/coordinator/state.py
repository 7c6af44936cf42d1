"""What the coordinator knows of its gang, and what it can decide. Pure: no clock, no I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tally.gang.coordinator.events import Event, Reason

Phase = Literal["joining", "idle", "training"]


@dataclass(frozen=True)
class Limits:
    """How long the coordinator waits for what, and how much it takes.

    Attributes:
        heartbeat_seconds: between two heartbeats of a worker.
        silent_seconds: without a heartbeat, after which a ready worker is dropped.
        joining_silent_seconds: the same for a worker that still builds: nobody waits for it, and
            an import can hold the interpreter for seconds.
        first_wait_seconds: the first generation is formed when all are ready, or this long after
            the first of them was.
        settle_seconds: changes that come together make one generation.
        rest_seconds: a planned pause waits this long for a member.
        rest_urgent_seconds: a pause because of a loss waits this long.
        message_bytes: the largest message.
        heartbeats_per_second: of one worker; more are refused.
        workers: lives at a time, joining ones too.
        fetches: files streamed at a time.
        fetch_stalled_seconds: a reader of a file that takes nothing for so long is cut off.
    """

    heartbeat_seconds: float = 0.5
    silent_seconds: float = 5.0
    joining_silent_seconds: float = 60.0
    first_wait_seconds: float = 20.0
    settle_seconds: float = 0.1
    rest_seconds: float = 60.0
    rest_urgent_seconds: float = 5.0
    message_bytes: int = 4 << 20
    heartbeats_per_second: float = 50.0
    workers: int = 256
    fetches: int = 16
    fetch_stalled_seconds: float = 30.0


@dataclass(frozen=True)
class Life:
    """One life of a worker, from its Join to its end.

    Attributes:
        member: the id that its calls carry.
        worker, uid, nonce: as it joined.
        seen_seconds: of its last sign of life.
        phase: it builds, it is ready or rests, it trains.
        address: of its collective.
        generation: the last that it was a member of.
        step: committed; meaningful where it has state.
        has_state: it holds the variables of `step`.
        leaving: why it asked to be left out; "" where it did not.
        surplus: a resize left it above the target.
    """

    member: bytes
    worker: str
    uid: str
    nonce: bytes
    seen_seconds: float
    phase: Phase = "joining"
    address: str = ""
    generation: int = 0
    step: int = 0
    has_state: bool = False
    leaving: str = ""
    surplus: bool = False


@dataclass(frozen=True)
class Pausing:
    """A pause that was ordered and not yet followed by a generation."""

    since_seconds: float
    urgent: bool


@dataclass(frozen=True)
class State:
    """Everything the coordinator knows.

    Attributes:
        limits, target: what was asked for.
        lives: by member id.
        generation: the newest id.
        members: the living members of that generation, by rank.
        order: of that generation.
        lost: one of its members is gone, or rested without being asked to.
        unfinished: one of its members is gone that had not finished.
        finishing: one of its members has finished: nothing more is planned for it.
        pausing: a pause is under way.
        change_seconds: when a planned change was first wanted.
        ready_seconds: when, without a generation, the first worker was ready.
        stopping: no generation is to train any more.
        batch_size: the global batch that was asked for; 0 for that of the config.
        formed_batch_size: that of the newest generation.
        over: `End` for all that is left to say, now and to whoever joins.
        dropped: uid and nonce of lives that were left behind of late: they do not come back.
    """

    limits: Limits
    target: int
    lives: Mapping[bytes, Life] = field(default_factory=dict)
    generation: int = 0
    members: tuple[bytes, ...] = ()
    order: Literal["train", "stop"] = "train"
    lost: bool = False
    unfinished: bool = False
    finishing: bool = False
    pausing: Pausing | None = None
    change_seconds: float | None = None
    ready_seconds: float | None = None
    stopping: bool = False
    batch_size: int = 0
    formed_batch_size: int = 0
    over: Reason | None = None
    dropped: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Welcome:
    """Let this worker in."""

    life: Life


@dataclass(frozen=True)
class Refuse:
    """Do not let this worker in now: there are too many, or its name is taken."""

    message: str
    full: bool


@dataclass(frozen=True)
class Pause:
    """Tell these members to rest."""

    generation: int
    urgent: bool
    members: tuple[bytes, ...]


@dataclass(frozen=True)
class Form:
    """Tell these lives, by rank, of their generation."""

    generation: int
    lives: tuple[Life, ...]
    donor: int
    fresh: bool
    order: Literal["train", "stop"]
    batch_size: int = 0


@dataclass(frozen=True)
class Finish:
    """End this life's stream, with an End where there is a reason."""

    member: bytes
    reason: Reason | None
    message: str


@dataclass(frozen=True)
class Tell:
    """Tell the conductor."""

    event: Event


Decision = Welcome | Refuse | Pause | Form | Finish | Tell


def order_of(life: Life) -> tuple[int, tuple[tuple[int, int | str], ...]]:
    """The order of ranks: by the number in the name, "2" before "10".

    Those of a newer machine type ("1.0") come first, and so take over from "0".
    """
    move, _, index = life.worker.rpartition(".")
    pieces = re.findall(r"\d+|\D+", index)
    numbers = tuple((0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces)
    return -int(move) if move.isdecimal() else 0, numbers
