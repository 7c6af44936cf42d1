"""When a conductor asks what size pays, when it believes the answer, and what it does about it."""

from dataclasses import replace
from typing import Any

import pytest

from helpers.gang.conductor_told import (
    LONG,
    NOW,
    Advised,
    ended,
    formed,
    started,
    told,
    training,
)  # fmt: skip
from tally.gang import rules
from tally.gang.actions import (
    Changed,
    Decided,
    FinishMove,
    GiveUp,
    Gone,
    Have,
    Members,
    Move,
    Rebatch,
    Weigh,
    Work,
    Write,
)
from tally.gang.coordinator.events import Formed
from tally.gang.gang import Size
from tally.gang.known import Look, Moved, Sizing, State, Stop, Weighed
from tally.gang.sizing import PENDING_SECONDS, WEIGH_SECONDS

pytestmark = pytest.mark.exact

BOTH, LARGER, BATCH = Size("", 2, 32), Size("", 3, 32), Size("", 2, 64)
GROW = [Write("resize", {"workers": 3, "before": 2, "machine_type": ""}), Members(3), Have(3)]


def choosing(**asked: Any) -> State:
    """A gang of two that trains, at a size that is Tally's to choose."""
    state = replace(training(2, **asked), sizing=Sizing(batch_size=32))
    state, actions = told(state, formed("0", "1"))
    assert actions[0] == Work(formed("0", "1"), BOTH)
    return state


def test_the_policy_is_asked_again_and_again_once_a_generation_trains() -> None:
    state = replace(training(), sizing=Sizing(batch_size=32))
    state, actions = told(state, Look(LONG))
    assert not actions and rules.wake_seconds(state) == NOW + WEIGH_SECONDS
    state, _ = told(state, formed("0", "1"))
    assert told(state, Look(LONG), at=NOW + WEIGH_SECONDS - 0.1) == (state, [])
    state, actions = told(state, Look(LONG), at=NOW + WEIGH_SECONDS)
    assert actions == [Weigh()]
    assert told(state, Look(LONG), at=NOW + WEIGH_SECONDS) == (state, [])
    assert told(state, Weighed(None)) == (state, [])


def test_the_batch_is_the_newest_that_was_ordered() -> None:
    _, actions = told(choosing(), Formed(2, ("0",), 0, False, 64), formed("0", "1"))
    works = [action.size for action in actions if isinstance(action, Work)]
    assert works == [Size("", 1, 64), Size("", 2, 64)]


def test_a_size_that_stays_is_written_once() -> None:
    stays = Advised(BOTH)
    _, actions = told(choosing(), Weighed(stays), Weighed(stays))
    assert actions == [Decided(BOTH, BOTH, "it pays", stays)]


def test_another_number_of_workers_has_to_be_said_twice() -> None:
    grow = Advised(LARGER)
    state, actions = told(choosing(), Weighed(grow))
    assert not actions
    assert not told(state, Weighed(Advised(Size("", 1, 32))), Weighed(grow))[1]
    state, actions = told(state, Weighed(grow))
    assert actions == [Decided(BOTH, LARGER, "it pays", grow), Changed(BOTH, grow), *GROW]


def test_another_batch_is_ordered_at_once_where_it_may_change() -> None:
    batch = Advised(BATCH)
    _, actions = told(choosing(rebatches=True), Weighed(batch))
    assert actions == [Decided(BOTH, BATCH, "it pays", batch), Changed(BOTH, batch), Rebatch(64)]


def test_another_machine_type_is_moved_to() -> None:
    other = Weighed(Advised(Size("n2", 2, 32)))
    _, actions = told(choosing(rebatches=True), other, other)
    assert actions[2:] == [Rebatch(32), Move("n2", 2)]


def test_after_a_change_it_is_written_again_that_it_stays() -> None:
    stays, batch = Weighed(Advised(BOTH)), Weighed(Advised(BATCH))
    _, actions = told(choosing(), stays, batch, stays, stays)
    assert [action.after for action in actions if isinstance(action, Decided)] == [
        BOTH, BATCH, BOTH,
    ]  # fmt: skip


def test_who_has_no_place_is_given_up_after_a_while_and_once() -> None:
    grow = Weighed(Advised(LARGER))
    state, _ = told(choosing(), grow, grow)
    late = NOW + PENDING_SECONDS
    waiting, actions = told(state, Look(LONG), at=late)
    assert actions == [Weigh()]
    _, actions = told(waiting, started("2"), Look(LONG), at=late + 0.1)
    assert not actions
    given_up, actions = told(waiting, Look(LONG), at=late + 0.1)
    reason = "1 of 3 workers had no place for 30 s: it goes on with the 2 that came"
    assert actions[:2] == [GiveUp("", 2), Decided(BOTH, BOTH, reason)]
    assert given_up.target == 2 and actions[-1] == Members(2)
    _, actions = told(given_up, ended("1"), Look(LONG), at=late + 0.2)
    assert actions[-1] == Have(2)


def test_who_dies_long_after_a_change_is_replaced_and_not_given_up() -> None:
    grow = Weighed(Advised(LARGER))
    state, _ = told(choosing(), grow, grow, started("2"), Look(LONG))
    still, _ = told(state, Look(LONG), at=NOW + PENDING_SECONDS)
    trains, _ = told(state, formed("0", "1", "2"), Look(LONG))
    for before in (still, trains):
        _, actions = told(before, ended("2"), Look(LONG), at=NOW + PENDING_SECONDS + 0.1)
        assert Have(3) in actions and not [one for one in actions if isinstance(one, GiveUp)]


def test_who_loses_its_place_before_a_move_is_done_is_given_up_like_who_never_had_one() -> None:
    """Else the machines of both types are paid for until there is a place again."""
    other = Weighed(Advised(Size("n2", 2, 32)))
    state, _ = told(choosing(), other, other, Moved("n2", 2))
    state, _ = told(state, started("1.0"), started("1.1"), Look(LONG), at=NOW + 20)
    state, actions = told(state, ended("1.1"), Look(LONG), at=NOW + 40)
    assert Have(2) in actions
    state, actions = told(state, Look(LONG), at=NOW + 20 + PENDING_SECONDS + 0.1)
    assert actions[0] == GiveUp("n2", 1) and state.target == 1
    _, actions = told(state, formed("1.0"))
    assert FinishMove() in actions


def test_the_last_worker_that_was_taken_away_is_replaced_where_that_pays() -> None:
    evicted = ended("1", cause="eviction", reason="Evicted")
    alone = Size("", 1, 32)
    state, actions = told(choosing(), evicted)
    assert actions == [Gone("1", "first-1"), Weigh(evicted, alone)]
    for advice in (None, Advised(BOTH)):
        assert told(state, Weighed(advice, evicted, alone))[1][-1] == Have(2)
    without, actions = told(state, Weighed(Advised(alone), evicted, alone))
    assert without.target == 1
    assert actions[0].reason == "not replaced (Evicted): it pays"
    assert actions[1:] == [
        Changed(BOTH, Advised(alone)),
        Write("resize", {"workers": 1, "before": 2, "machine_type": ""}),
        Members(1),
    ]
    for end in (ended("0", cause="eviction"), ended("1")):
        assert told(choosing(), end)[1][-1] == Have(2)


def test_a_stop_asks_and_changes_nothing() -> None:
    grow = Weighed(Advised(LARGER))
    state, _ = told(choosing(), grow, Stop())
    assert told(state, grow) == (state, [])
    assert told(state, Look(LONG), at=NOW + 1) == (state, [])
