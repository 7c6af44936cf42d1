"""A gang's workers as processes or pods: the interface of where they run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

State = Literal["pending", "started", "ended"]
Cause = Literal["", "exit", "signal", "oom", "eviction", "node_lost", "image", "unschedulable"]


@dataclass(frozen=True, kw_only=True)
class WorkerChange:
    """What became of a worker's process or pod.

    Attributes:
        worker: its name: its index in the gang, "0", "1", …; a replacement has the same.
        uid: of this life: "host:pid:boot" or the pod's uid.
        state: it waits for a place, its process runs, it has ended.
        cause: of an end or of waiting; "" where there is nothing to say.
        reason: the system's own words for it: the scheduler's, the kubelet's, a signal's name.
        exit_code: where it ended by itself.
        memory_limit_bytes: what it may hold; 0 where that is not known, or no limit.
        fatal: it will not come right by itself (an image that is not there).
        pid: of a local process.
        cpu_seconds: of its whole life, where that is known exactly.
        at_microseconds: when it happened, on the run's clock.
    """

    worker: str
    uid: str
    state: State
    cause: Cause = ""
    reason: str = ""
    exit_code: int | None = None
    memory_limit_bytes: int = 0
    fatal: bool = False
    pid: int | None = None
    cpu_seconds: float | None = None
    at_microseconds: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """What a gang is: how many workers of which machine type, and the global batch."""

    machine_type: str
    workers: int
    batch_size: int


def move_and_index(worker: str) -> tuple[int, int]:
    """Of a worker's name: "2" is (0, 2); after the first change of machine type "1.2" is (1, 2)."""
    move, _, index = worker.rpartition(".")
    return int(move or 0), int(index)


class Gang(Protocol):
    """Where workers run. Its workers have the indexes 0 … n - 1; shrinking ends the highest."""

    def start(self, workers: int) -> None:
        """Start so many workers. A gang that an earlier attempt left is ended first."""

    def watch(self, told: Callable[[WorkerChange], None]) -> None:
        """Tell every change from now on, from a thread of the gang's own."""

    def resize(self, workers: int) -> None:
        """Have so many workers from now on; a worker that ended is replaced."""

    def end(self, worker: str, uid: str) -> None:
        """End one life of a worker that does not end by itself; `resize` replaces it."""

    def move(self, machine_type: str, workers: int) -> None:
        """Start so many workers on another machine type, beside those that there are.

        Raises:
            SpecError: there is no such machine type, or this gang has none to choose from.
        """

    def enlarge(self, workers: int) -> int:
        """Start so many workers with more memory, beside those that there are, as `move` does.

        Returns:
            What each may hold, bytes; 0 where there is no more to give, and then nothing is done.
        """

    def finish_move(self) -> None:
        """End the workers of all moves but the newest."""

    def end_soon(self) -> None:
        """Have all end, in good order, even should this process be killed in a second's time."""

    def stop(self, grace_seconds: float) -> None:
        """End all workers, the last of them by force after `grace_seconds`. Can be repeated."""
