"""Whatever comes in whatever order, a generation is what it has to be, and one is always found."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tally.gang.coordinator import membership as rules
from tally.gang.coordinator.events import Empty, Formed, Rested
from tally.gang.coordinator.forming import chosen
from tally.gang.coordinator.membership import Report
from tally.gang.coordinator.state import (
    Finish,
    Form,
    Life,
    Limits,
    Pause,
    Refuse,
    State,
    Tell,
    order_of,
)

pytestmark = pytest.mark.exact

TICK_SECONDS = 0.25


@dataclass
class Worker:
    """What a real worker would know and do."""

    member: bytes
    name: str
    uid: str
    nonce: bytes
    phase: str = "joining"  # ready, training, paused, resting, ended
    generation: int = 0
    step: int = 0
    has_state: bool = False
    silent: bool = False


@dataclass
class World:
    """The rules, fed; their decisions carried out on pretended workers, and checked."""

    target: int = 2
    state: State = field(default_factory=lambda: State(Limits(), 2))
    now: float = 100.0
    workers: dict[bytes, Worker] = field(default_factory=dict)
    count: int = 0
    stopped: bool = False
    forms: list[Form] = field(default_factory=list)
    events: list[object] = field(default_factory=list)

    def feed(self, call: Callable[[State, float], rules.Outcome]) -> list[object]:
        self.state, decisions = call(self.state, self.now)
        for decision in decisions:
            match decision:
                case Pause(generation, _, members):
                    for member in members:
                        worker = self.workers[member]
                        assert worker.generation == generation
                        if worker.phase == "training":
                            worker.phase = "paused"
                case Form():
                    self.check(decision)
                    self.formed(decision)
                case Finish(member, _, _):
                    self.workers[member].phase = "ended"
                case Tell(event):
                    self.events.append(event)
        return decisions

    def join(self, name: str, again: Worker | None = None) -> Worker | None:
        self.count += 1
        member, nonce = b"m%d" % self.count, again.nonce if again else b"n%d" % self.count
        uid = again.uid if again else f"u{self.count}"
        life = Life(member, name, uid, nonce, self.now)
        self.workers[member] = Worker(member, name, uid, nonce)
        if any(
            isinstance(decision, Refuse)
            for decision in self.feed(lambda state, now: rules.join(state, now, life))
        ):
            del self.workers[member]
            return None
        return self.workers[member]

    def beat(self, worker: Worker, phase: str | None = None, generation: int | None = None) -> None:
        said = phase or ("training" if worker.phase == "paused" else worker.phase)
        report = Report(
            said,  # type: ignore[arg-type]
            worker.generation if generation is None else generation,
            worker.step,
            worker.has_state,
            f"{worker.uid}:1",
        )
        self.feed(lambda state, now: rules.heard(state, now, worker.member, report))

    def ready(self, worker: Worker) -> None:
        worker.phase = "ready"
        self.beat(worker)

    def rest(self, worker: Worker, steps: int = 0) -> None:
        worker.phase, worker.has_state, worker.step = "resting", True, worker.step + steps
        self.beat(worker)

    def alive(self, *phases: str) -> list[Worker]:
        return [
            worker
            for worker in self.workers.values()
            if worker.phase != "ended" and (not phases or worker.phase in phases)
        ]

    def tick(self) -> None:
        self.now += TICK_SECONDS
        for worker in self.alive():
            if not worker.silent:
                self.beat(worker)
        self.feed(rules.look)

    def check(self, form: Form) -> None:
        """What has to hold of every generation."""
        ranks = [self.workers[life.member] for life in form.lives]
        former = [w for w in self.alive() if w.generation == self.last and w.generation]
        assert all(w.phase in ("resting",) for w in former), "a living member had not rested"
        assert form.generation == self.last + 1
        assert all(w.phase in ("ready", "resting") for w in ranks)
        assert [life.worker for life in form.lives] == [
            life.worker for life in sorted(form.lives, key=order_of)
        ]
        holders = [w for w in self.alive("resting") if w.has_state]
        assert form.fresh == (not any(w.has_state for w in ranks))
        assert not (form.fresh and holders), "state was thrown away"
        if not form.fresh:
            donor = ranks[form.donor]
            highest = max(w.step for w in ranks if w.has_state)
            assert donor.has_state and donor.step == highest
        if form.order == "train":
            assert not self.stopped
            assert len(ranks) <= max(self.target, 2)
            assert len(ranks) <= self.target or (self.target == 1 and len(ranks) == 2)

    def formed(self, form: Form) -> None:
        self.forms.append(form)
        donor = self.workers[form.lives[form.donor].member]
        for life in form.lives:
            worker = self.workers[life.member]
            worker.phase = "training" if form.order == "train" else "ended"
            worker.generation, worker.step = form.generation, donor.step
        if form.order == "stop":
            for life in form.lives:
                self.feed(lambda s, now, life=life: rules.gone(s, now, life.member, "its end"))

    @property
    def last(self) -> int:
        return self.forms[-1].generation if self.forms else 0


class Membership(RuleBasedStateMachine):
    """Random lives of a gang."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def pick(self, index: int, *phases: str) -> Worker | None:
        found = self.world.alive(*phases)
        return found[index % len(found)] if found else None

    index = st.integers(0, 9)

    @rule(name=st.integers(0, 4))
    def join(self, name: int) -> None:
        self.world.join(str(name))

    @rule(index=index)
    def ready(self, index: int) -> None:
        if worker := self.pick(index, "joining"):
            self.world.ready(worker)

    @rule(index=index, steps=st.integers(0, 1))
    def rest(self, index: int, steps: int) -> None:
        if worker := self.pick(index, "paused"):
            self.world.rest(worker, steps)

    @rule(index=index)
    def rest_unasked(self, index: int) -> None:
        if worker := self.pick(index, "training"):
            self.world.rest(worker)

    @rule(steps=st.integers(1, 3))
    def train(self, steps: int) -> None:
        for worker in self.world.alive("training"):
            worker.has_state, worker.step = True, worker.step + steps

    @rule(index=index)
    def die(self, index: int) -> None:
        if worker := self.pick(index):
            worker.phase = "ended"
            self.world.feed(lambda state, now: rules.gone(state, now, worker.member, "killed"))

    @rule(index=index)
    def fall_silent(self, index: int) -> None:
        if worker := self.pick(index):
            worker.silent = True

    @rule(index=index)
    def cut_and_join_again(self, index: int) -> None:
        worker = self.pick(index, "training", "paused", "resting")
        if worker is None or worker.silent:
            return
        new = self.world.join(worker.name, again=worker)
        assert new is not None
        new.generation, new.step, new.has_state = worker.generation, worker.step, worker.has_state
        if new.phase != "ended":
            new.phase = "resting"
            self.world.beat(new)

    @rule(index=index)
    def leave(self, index: int) -> None:
        if worker := self.pick(index):
            self.world.feed(lambda state, now: rules.leave(state, now, worker.member, "SIGTERM"))

    @rule(index=index, back=st.integers(-1, 3), phase=st.sampled_from(["ready", "resting"]))
    def lie_about_the_generation(self, index: int, back: int, phase: str) -> None:
        worker = self.pick(index, "training", "paused")
        if worker is not None and back != 0:
            before = self.world.state
            self.world.beat(worker, phase, max(0, worker.generation - back))
            assert self.world.state.members == before.members
            life = self.world.state.lives[worker.member]
            assert life.phase == before.lives[worker.member].phase

    @rule(workers=st.integers(1, 4))
    def resize(self, workers: int) -> None:
        self.world.target = workers
        self.world.feed(lambda state, now: rules.resize(state, now, workers))

    @rule(ticks=st.integers(1, 30))
    def time_passes(self, ticks: int) -> None:
        for _ in range(ticks):
            self.world.tick()

    @precondition(lambda self: len(self.world.forms) > 2)
    @rule()
    def stop(self) -> None:
        self.world.stopped = True
        self.world.feed(rules.stop)

    @invariant()
    def members_live(self) -> None:
        world = self.world
        assert set(world.state.members) <= set(world.state.lives)
        for member in world.state.lives:
            assert world.workers[member].phase != "ended"

    def teardown(self) -> None:
        """Everybody does what it is told: then all that stay are in one generation, or it ends."""
        world = self.world
        for _ in range(400):
            for worker in world.alive("joining"):
                if not worker.silent:
                    world.ready(worker)
            for worker in world.alive("paused"):
                if not worker.silent:
                    world.rest(worker)
            for worker in world.alive("training"):
                worker.has_state = True
            world.tick()
        state = world.state
        lives = [life for life in state.lives.values() if not life.leaving]
        if world.stopped or state.over:
            assert not state.lives and not state.members
        elif lives:
            wanted = [life.member for life in sorted(lives, key=order_of)][: world.target]
            assert list(state.members) == wanted, "not all that were ready came together"
            assert state.pausing is None and not state.lost
        else:
            assert not state.members


TestMembership = Membership.TestCase
TestMembership.settings = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def gang(names: int, target: int | None = None) -> tuple[World, list[Worker]]:
    """So many workers in training."""
    world = World(target=target or names)
    world.state = State(Limits(), world.target)
    workers = [world.join(str(index)) for index in range(names)]
    found = [worker for worker in workers if worker is not None]
    for worker in found:
        world.ready(worker)
    return world, found


def train(world: World, steps: int = 1) -> None:
    for worker in world.alive("training"):
        worker.has_state, worker.step = True, worker.step + steps


def test_the_first_generation_waits_for_all_but_not_for_ever() -> None:
    world, _ = gang(2, target=3)
    assert not world.forms
    for _ in range(79):
        world.tick()
    assert not world.forms
    world.tick()
    world.tick()
    assert [life.worker for life in world.forms[-1].lives] == ["0", "1"]


def test_a_newcomer_is_paused_for_only_once_it_is_ready() -> None:
    world, workers = gang(2, target=3)
    for _ in range(90):
        world.tick()
    newcomer = world.join("2")
    assert newcomer is not None
    for _ in range(40):
        world.tick()
    assert all(worker.phase == "training" for worker in workers)
    world.ready(newcomer)
    world.tick()
    assert all(worker.phase == "paused" for worker in workers)
    for worker in workers:
        world.rest(worker)
    assert len(world.forms[-1].lives) == 3 and not world.forms[-1].fresh


def test_after_a_death_the_survivor_with_the_highest_step_gives_its_state_at_once() -> None:
    world, workers = gang(3)
    train(world, 7)
    workers[2].step += 1
    workers[0].phase = "ended"
    before = world.now
    world.feed(lambda state, now: rules.gone(state, now, workers[0].member, "killed"))
    assert [worker.phase for worker in workers[1:]] == ["paused", "paused"]
    for worker in workers[1:]:
        world.rest(worker)
    form = world.forms[-1]
    assert [life.worker for life in form.lives] == ["1", "2"] and form.donor == 1
    assert world.now == before
    assert Rested(1, {"1": 7, "2": 8}) in world.events


def test_shrinking_keeps_the_lowest_and_dismisses_the_others() -> None:
    world, workers = gang(12)
    world.feed(lambda state, now: rules.resize(state, now, 11))
    world.tick()
    for worker in workers:
        world.rest(worker)
    assert [life.worker for life in world.forms[-1].lives] == [str(index) for index in range(11)]
    assert workers[11].phase == "ended"


@pytest.mark.parametrize("target", [1, 2])
def test_the_only_one_with_the_state_hands_it_over_before_it_goes(target: int) -> None:
    world, workers = gang(1, target=1)
    train(world)
    world.target = target
    world.feed(lambda state, now: rules.resize(state, now, 3))
    newcomers = [world.join("1"), world.join("2")][:target]
    for newcomer in newcomers:
        assert newcomer is not None
        world.ready(newcomer)
    world.feed(lambda state, now: rules.leave(state, now, workers[0].member, "SIGTERM"))
    world.feed(lambda state, now: rules.resize(state, now, target + 1))
    world.target = target + 1
    for _ in range(8):
        train(world, 0)
        for worker in world.alive("paused"):
            world.rest(worker)
        world.tick()
    assert not any(form.fresh for form in world.forms[1:])
    assert world.workers[workers[0].member].phase == "ended"


def test_when_all_leave_the_last_thing_is_a_checkpoint_and_newcomers_begin_from_it() -> None:
    world, workers = gang(2)
    train(world)
    for worker in workers:
        world.feed(lambda state, now, at=worker: rules.leave(state, now, at.member, "SIGTERM"))
    for _ in range(4):
        world.tick()
        for worker in world.alive("paused"):
            world.rest(worker)
    assert world.forms[-1].order == "stop" and Empty() in world.events
    again = [world.join(name) for name in "01"]
    for worker in again:
        assert worker is not None
        world.ready(worker)
    assert world.forms[-1].order == "train" and world.forms[-1].fresh


def test_one_that_never_rests_is_dropped_soon_after_a_loss_and_late_in_a_planned_pause() -> None:
    for kill, seconds in ((True, 5.0), (False, 60.0)):
        world, workers = gang(3)
        train(world)
        if kill:
            workers[2].phase = "ended"
            world.feed(lambda state, now, at=workers[2]: rules.gone(state, now, at.member, "gone"))
        else:
            world.feed(lambda state, now: rules.resize(state, now, 2))
            world.tick()
            world.rest(workers[2])
        began = world.now
        world.rest(workers[0])
        while len(world.forms) == 1:
            world.tick()
        assert world.now - began == pytest.approx(seconds, abs=0.5)
        assert [life.worker for life in world.forms[-1].lives] == ["0"]


def test_a_restarted_worker_waits_for_its_half_open_former_life_no_longer_than_its_silence() -> (
    None
):
    world, workers = gang(2)
    train(world)
    workers[1].silent = True
    began = world.now
    while (newcomer := world.join("1")) is None:
        world.tick()
    assert world.now - began <= Limits().silent_seconds + TICK_SECONDS
    world.ready(newcomer)


def test_all_finished_means_the_end_for_whoever_still_comes() -> None:
    world, workers = gang(2)
    late = world.join("7")
    for worker in workers:
        world.feed(lambda state, now, at=worker: rules.leave(state, now, at.member, "finished"))
    assert world.state.over == "finished"
    assert late is not None and late.phase == "ended"
    assert len([event for event in world.events if isinstance(event, Formed)]) == 1


def test_a_death_while_others_have_finished_is_made_good_by_who_is_left() -> None:
    world, workers = gang(3)
    train(world)
    world.feed(lambda state, now: rules.leave(state, now, workers[2].member, "finished"))
    workers[0].phase = "ended"
    world.feed(lambda state, now: rules.gone(state, now, workers[0].member, "killed"))
    world.rest(workers[1])
    assert [life.worker for life in world.forms[-1].lives] == ["1"] and not world.forms[-1].fresh


def test_a_coordinator_that_was_asleep_blames_nobody() -> None:
    world, workers = gang(2)
    world.now += 30
    world.state = rules.excuse(world.state, 30.0)
    world.feed(rules.look)
    assert len(world.alive("training")) == len(workers)


def test_who_would_be_chosen_is_the_order_of_indexes_not_of_letters() -> None:
    world, _ = gang(11)
    assert [life.worker for life in chosen(world.state)] == [str(index) for index in range(11)]


def test_workers_of_a_newer_machine_type_take_over_from_the_others() -> None:
    world, old = gang(1)
    train(world)
    new = world.join("1.0")
    assert new is not None
    assert [life.worker for life in chosen(world.state)] == ["0"]
    world.ready(new)
    world.tick()
    world.rest(old[0])
    # the newcomer has no state: the other comes along for one generation, and needs no further word
    assert [life.worker for life in world.forms[-1].lives] == ["1.0", "0"]
    assert (rules.wake_seconds(world.state) or world.now + 9) < world.now + 1
    train(world)
    world.tick()
    for worker in (*old, new):
        world.rest(worker)
    assert [life.worker for life in world.forms[-1].lives] == ["1.0"]
