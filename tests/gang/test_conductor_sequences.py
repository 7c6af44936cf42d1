"""Whatever happens in whatever order, a conductor starts nobody whom it ends, and ends in time."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from helpers.gang.conductor_told import (
    FINISHED,
    LONG,
    MIB,
    NOW,
    OBSERVED,
    PROGRESS,
    Advised,
    ended,
    formed,
    pending,
    started,
)
from tally.gang import messages as say
from tally.gang import rules
from tally.gang.actions import (
    Action,
    Checkpoint,
    EndLife,
    EndSoon,
    Enlarge,
    FinishMove,
    Have,
    Move,
    Weigh,
)
from tally.gang.coordinator.events import Dropped, ResizeAsked
from tally.gang.gang import Size, move_and_index
from tally.gang.known import (
    Asked,
    Enlarged,
    Look,
    Moved,
    Sizing,
    State,
    Stop,
    Weighed,
)
from tally.gang.rules import STOP_SECONDS

pytestmark = pytest.mark.exact

TICK_SECONDS = 0.2
SMALL = Size("", 1, 32)


@dataclass
class World:
    """The rules, fed; what they do carried out on a pretended gang, and checked."""

    state: State
    now: float = NOW
    move: int = 0
    count: int = 0
    alive: dict[str, str] = field(default_factory=dict)  # worker by uid
    ordered: set[str] = field(default_factory=set)  # uids that were told to end
    stopping: bool = False
    pays: Size = SMALL
    done: list[Action] = field(default_factory=list)

    def tell(self, one: Any) -> None:
        before = self.state
        self.state, actions = rules.decide(before, self.now, one)
        if before.over is not None:
            assert not actions and self.state == before, "it acted after the end"
        started: set[str] = set()
        ended: set[str] = set()
        for action in actions:
            self.done.append(action)
            match action:
                case Have(workers):
                    started |= self.start(workers)
                case EndLife(worker, uid):
                    ended |= {worker}
                    self.ordered |= {uid} & set(self.alive)
                case FinishMove():
                    former = {u for u, w in self.alive.items() if move_and_index(w)[0] < self.move}
                    ended |= {self.alive[uid] for uid in former}
                    self.ordered |= former
                case Checkpoint():
                    self.stopping = True
                case EndSoon():
                    self.ordered |= set(self.alive)
                case Move() | Enlarge() | Weigh():
                    self.tell(self.answer(action))
        assert not started & ended, "it replaced whom it ended"

    def answer(self, action: Move | Enlarge | Weigh) -> Any:
        """As it may come; every third is refused."""
        self.count += 1
        no = self.count % 3 == 0
        match action:
            case Weigh(change, size):
                return Weighed(None if no else Advised(size or self.pays), change, size)
            case Move(machine_type, workers):
                if no:
                    return Moved(machine_type, workers, "refused")
                self.move += 1
                self.start(workers)
                return Moved(machine_type, workers)
            case Enlarge(change, workers):
                if no:
                    return Enlarged(change, 0)
                self.move += 1
                self.start(workers)
                return Enlarged(change, 2048 * MIB)

    def start(self, workers: int) -> set[str]:
        """Start who is missing; their names."""
        assert not self.stopping, "it started somebody who is to end"
        assert 1 <= workers <= self.state.asked.max_workers
        names = {f"{self.move}.{index}" if self.move else str(index) for index in range(workers)}
        missing = names - set(self.alive.values())
        for worker in sorted(missing):
            self.count += 1
            self.alive[f"u{self.count}"] = worker
        return missing


class Conducting(RuleBasedStateMachine):
    """Random events of a training."""

    def __init__(self) -> None:
        super().__init__()
        asked = Asked(run_id="r", max_workers=3, queue_seconds=1.0, rebatches=True)
        self.world = World(State(asked=asked, target=2, sizing=Sizing(batch_size=32)))
        self.world.start(2)

    index = st.integers(0, 9)

    def pick(self, index: int) -> tuple[str, str] | None:
        found = list(self.world.alive.items())
        return found[index % len(found)] if found else None

    @rule(index=index)
    def start(self, index: int) -> None:
        if found := self.pick(index):
            self.world.tell(started(found[1], found[0]))

    @rule(index=index, cause=st.sampled_from(["exit", "signal", "oom", "eviction", "node_lost"]))
    def die(self, index: int, cause: str) -> None:
        if found := self.pick(index):
            self.end(*found, cause)

    @precondition(lambda self: self.world.ordered)
    @rule()
    def end_as_ordered(self) -> None:
        uid = min(self.world.ordered)
        self.end(uid, self.world.alive[uid], "signal")

    def end(self, uid: str, worker: str, cause: str) -> None:
        del self.world.alive[uid]
        self.world.ordered.discard(uid)
        self.world.tell(ended(worker, uid, cause=cause))

    @rule(index=st.integers(0, 2))
    def wait_for_a_place(self, index: int) -> None:
        reason = {"cause": "unschedulable", "reason": "no node"}
        self.world.tell(pending(str(index), **reason))

    @rule(fresh=st.booleans(), step=st.booleans(), newest=st.booleans())
    def form(self, fresh: bool, step: bool, newest: bool) -> None:
        """Who runs trains together; those of former moves too, until they are no longer needed."""
        for uid, worker in self.world.alive.items():
            self.world.tell(started(worker, uid))
        names = set(self.world.alive.values())
        workers = sorted(w for w in names if self.world.state.wanted([w]) or not newest)
        if workers:
            self.world.tell(formed(*workers, fresh=fresh))
        if workers and step:
            self.world.tell(OBSERVED)
            self.world.tell(PROGRESS)

    @rule(index=index)
    def drop(self, index: int) -> None:
        if found := self.pick(index):
            self.world.tell(Dropped(found[1], found[0], "silent"))

    @rule(workers=st.integers(0, 4), machine_type=st.sampled_from(["", "n2"]))
    def ask(self, workers: int, machine_type: str) -> None:
        self.world.tell(ResizeAsked(workers, machine_type))

    @rule(workers=st.integers(1, 3), batch_size=st.sampled_from([32, 64]), here=st.booleans())
    def pay(self, workers: int, batch_size: int, here: bool) -> None:
        """Another size is the best from now on."""
        self.world.pays = Size(self.world.state.kind if here else "n2", workers, batch_size)
        self.world.tell(Weighed(Advised(self.world.pays)))

    @rule(
        ticks=st.sampled_from([1, 5, 25, 160]),
        limit_seconds=st.sampled_from([LONG, LONG, LONG, 0.5, 0.0]),
    )
    def time_passes(self, ticks: int, limit_seconds: float) -> None:
        for _ in range(ticks):
            self.world.now += TICK_SECONDS
            limit_seconds -= TICK_SECONDS
            self.world.tell(Look(limit_seconds))

    @rule(last=st.sampled_from([Stop(), FINISHED, say.Failed("broken", 1)]), chance=index)
    def end_all(self, last: Any, chance: int) -> None:
        if chance == 0:
            self.world.tell(last)

    @invariant()
    def a_stop_has_ordered_a_checkpoint_first(self) -> None:
        state = self.world.state
        if state.stopping or (state.over and state.over.why in ("limit", "told")):
            assert Checkpoint() in self.world.done

    def teardown(self) -> None:
        """Who is told to end ends within what it has for that."""
        self.world.tell(Stop())
        for _ in range(round(STOP_SECONDS / TICK_SECONDS) + 1):
            self.world.now += TICK_SECONDS
            self.world.tell(Look(LONG))
        assert self.world.state.over is not None
        for one in (Stop(), Look(0.0), ResizeAsked(3), FINISHED):
            self.world.tell(one)


TestConducting = Conducting.TestCase
TestConducting.settings = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
