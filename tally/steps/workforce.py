"""The workers of a gang as their conductor knows them: how many there are to be, and who lives."""

import time
from collections import Counter
from collections.abc import Sequence

from tally.errors import RunError, TallyError
from tally.gang.gang import Gang, WorkerChange, move_and_index
from tally.steps import out_of_memory
from tally.steps.saying import note
from tally.steps.step import Step

DEATHS = 3  # of workers in a row, without a step done between them


class Workforce:
    """Who lives, who is replaced, and who is waited for.

    Attributes:
        target: how many there are to be.
        alive: the lives (uids) of processes and pods that run, each with its worker's name.
        queue_until: a moment of the monotonic clock until which nobody may have a place; None
            where somebody has one.
        deaths: of workers in a row, without a step done between them.
    """

    def __init__(
        self,
        here: Step,
        gang: Gang,
        target: int,
        queue_seconds: float,
        machine_type: str = "",
    ) -> None:
        """Nobody lives yet.

        Args:
            here: the train step.
            gang: started with `target` workers.
            target: how many there are to be.
            queue_seconds: how long nobody of the gang may have a place to run.
            machine_type: of the workers, of the catalogue; "local" for processes here, "" for pods
                of none of it.
        """
        self._machine_types = [machine_type]  # by move
        self._here, self._gang, self.target = here, gang, target
        self._queue_seconds = queue_seconds
        self._waiting = ""  # which worker, and why
        self._moving = False  # whether workers of an earlier Job live
        self._enlarged = 0  # a worker's memory since the first OOM kill, bytes
        self._died: set[str] = set()  # names whose next life replaces one that was still wanted
        self.alive: dict[str, str] = {}
        self.queue_until: float | None = None
        self.deaths = 0

    def started(self, change: WorkerChange) -> None:
        """A worker's process or pod runs."""
        self.alive[change.uid] = change.worker
        self.queue_until = None
        self._died.discard(change.worker)

    def is_replacement(self, worker: str) -> bool:
        """Whether a worker that starts now does so because one that was still wanted has ended;
        who is added by a resize does not."""
        return worker in self._died

    def waits(self, change: WorkerChange) -> None:
        """A worker has no place yet.

        Raises:
            RunError: it will never have one, or nobody has one and nobody may wait.
        """
        if not change.reason:
            return
        self._waiting = f"worker {change.worker} to start, got {change.reason}"
        if change.fatal:
            raise RunError(f"train: expected {self._waiting}; correct it, then `make resume`")
        if change.cause == "unschedulable" and not self.alive:
            if self._queue_seconds <= 0:
                raise self.no_place()
            self.queue_until = self.queue_until or time.monotonic() + self._queue_seconds
        note(self._here, f"worker {change.worker} waits: {change.reason}")

    def ended(self, change: WorkerChange) -> None:
        """A worker that is still wanted has ended: it is replaced.

        Raises:
            RunError: it is no use.
        """
        if change.fatal:
            raise RunError(f"train: expected the gang to live, got {change.reason}; `make resume`")
        if not self.wanted([change.worker]):
            return
        self._died.add(change.worker)
        if change.cause == "oom" and self._given_more(change):
            return
        self.deaths += 1
        if self.deaths >= DEATHS:
            first = f"{out_of_memory.REMEDY}; then " if change.cause == "oom" else ""
            raise RunError(
                f"train: expected worker {change.worker} to finish, got {change.reason}, "
                f"{self.deaths} times without a step between; "
                f"{first}`make resume RUN={self._here.run_id}` goes on from the last checkpoint"
            )
        note(self._here, f"worker {change.worker} ended: {change.reason}; it is replaced")
        self._gang.resize(self.target)

    def _given_more(self, change: WorkerChange) -> bool:
        """After the first OOM kill: begin the gang once more, with more memory."""
        more = out_of_memory.give_more(self._here, self._gang, change, self.target, self._enlarged)
        if more:
            self._enlarged = more
            self._machine_types.append(self.kind)
            move = len(self._machine_types) - 1
            self._died.update(f"{move}.{index}" for index in range(self.target))
            self._moving = bool(self.alive)
            if not self.alive:  # else Kubernetes would start the killed one again beside them
                self._gang.finish_move()
        return bool(more)

    def wanted(self, workers: Sequence[str]) -> bool:
        """Whether all of these are below the target and on the newest machine type."""
        places = [move_and_index(worker) for worker in workers]
        newest = len(self._machine_types) - 1
        return all(move == newest and index < self.target for move, index in places)

    def formed(self, workers: Sequence[str]) -> None:
        """A generation begins: who is in it works, who is above the target ends."""
        if self.wanted(workers):
            if self._moving:
                self._moving = False
                self._gang.finish_move()
            self._gang.resize(self.target)

    def resize(self, workers: int, machine_type: str) -> bool:
        """Have so many from now on, of another machine type where one is given.

        Those that are too many end once a generation without them has formed. Whether it was done;
        if not, why not is in the run's events.
        """
        before = self.target
        if machine_type:
            try:
                self._gang.move(machine_type, workers)
            except TallyError as error:
                note(self._here, str(error))
                return False
            self._machine_types.append(machine_type)
            self._moving, self._enlarged = True, 0
        self.target = workers
        self._here.event("resize", workers=workers, before=before, machine_type=machine_type)
        return True

    def grow(self) -> None:
        """Start those that are missing."""
        self._gang.resize(self.target)

    def held(self) -> dict[str, int]:
        """How many run, by machine type."""
        moves = [move_and_index(worker)[0] for worker in self.alive.values()]
        return dict(Counter(self._machine_types[move] for move in moves))

    @property
    def kind(self) -> str:
        """The machine type of the workers that there are to be; "" for none of the catalogue."""
        return self._machine_types[-1]

    @property
    def running(self) -> int:
        """How many of those that there are to be run."""
        return sum(self.wanted([worker]) for worker in set(self.alive.values()))

    def was_taken(self, change: WorkerChange) -> bool:
        """Whether this was the last of the wanted workers, and the cluster took it away."""
        last = self.wanted([change.worker]) and move_and_index(change.worker)[1] + 1 == self.target
        return last and change.cause in ("eviction", "node_lost") and self.target > 1

    def no_place(self) -> RunError:
        """Nobody of the gang has a place to run."""
        return RunError(
            f"train: expected {self._waiting}; ask for what the cluster has, or give it "
            "queue_seconds to add a node"
        )
