"""What a conductor does about each thing that happens, without any process."""

from dataclasses import replace
from typing import Any

import pytest

from helpers.gang.conductor_told import (
    FINISHED,
    LONG,
    MIB,
    NOW,
    OBSERVED,
    OOM,
    ORPHANED,
    PROGRESS,
    UNSCHEDULABLE,
    Advised,
    ended,
    failure,
    formed,
    notes,
    pending,
    started,
    told,
    training,
)
from tally.gang import messages as say
from tally.gang import rules
from tally.gang.actions import (
    Checkpoint,
    CountLost,
    EndSoon,
    Enlarge,
    FinishMove,
    Gone,
    Have,
    Members,
    Move,
    Write,
)
from tally.gang.coordinator.events import Dropped, ResizeAsked
from tally.gang.gang import Size
from tally.gang.known import (
    End,
    Enlarged,
    Look,
    Moved,
    Stop,
    Weighed,
)
from tally.gang.replacing import DEATHS
from tally.gang.rules import FUTILE, LIMIT_SECONDS, STOP_SECONDS

pytestmark = pytest.mark.exact

STARTS = (Have, Move, Enlarge)


@pytest.mark.parametrize(
    ("first", "over"),
    [
        (say.Failed("the disk is full", 1), End("failed", "the disk is full")),
        (say.Failed("no such model", 2), End("bad input", "no such model")),
        (FINISHED, End("finished", finished=FINISHED)),
        (
            ended("0", reason="the Job failed", fatal=True),
            End("failed", "train: expected the gang to live, got the Job failed; `make resume`"),
        ),
    ],
)
def test_the_first_cause_stays_whatever_follows(first: Any, over: End) -> None:
    state, _ = told(training(), first)
    assert state.over == over
    after = [ORPHANED, say.Failed("later", 1), FINISHED, Stop(), Look(-1.0), ResizeAsked(3)]
    for later in (*after, formed("0"), Dropped("1", "first-1", "silent"), OOM):
        assert told(state, later) == (state, [])


@pytest.mark.parametrize(("first", "why"), [(Stop(), "told"), (Look(0.0), "limit")])
def test_who_is_stopped_ends_for_that_and_not_for_what_its_workers_end_with(
    first: Any, why: str
) -> None:
    state, _ = told(training(1), first, Stop(), Look(0.0))
    state, actions = told(state, ORPHANED)
    assert actions == [Gone("0", "first-0")]
    state, actions = told(state, Look(0.0))
    assert state.over == End(why) and not actions  # type: ignore[arg-type]


def test_a_stop_orders_a_checkpoint_and_waits_for_all_to_end_but_not_for_ever() -> None:
    state, actions = told(training(), Stop())
    assert actions == [Checkpoint(), EndSoon()]
    state, _ = told(state, Look(LONG), at=NOW + STOP_SECONDS - 0.01)
    assert state.over is None
    assert rules.wake_seconds(state) == NOW + STOP_SECONDS
    again, _ = told(state, Stop(), at=NOW + 1)
    assert rules.wake_seconds(again) == NOW + STOP_SECONDS
    late, _ = told(state, Look(LONG), at=NOW + STOP_SECONDS)
    gone, _ = told(state, ended("0"), ended("1"), Look(LONG))
    assert late.over == gone.over == End("told")


def test_a_limit_orders_a_checkpoint_first_and_lets_the_gang_be() -> None:
    state, actions = told(training(), Look(0.1))
    assert not actions and state.stopping is None
    state, actions = told(state, Look(0.0))
    assert actions == [Checkpoint()] and state.over is None
    assert told(state, Look(-5.0)) == (state, [])
    late, _ = told(state, Look(-5.0), at=NOW + LIMIT_SECONDS)
    gone, _ = told(state, ended("0"), ended("1"), Look(-5.0))
    assert late.over == gone.over == End("limit")
    state, actions = told(state, Stop())  # now somebody waits
    assert actions == [Checkpoint(), EndSoon()]
    assert rules.wake_seconds(state) == NOW + STOP_SECONDS


def test_a_limit_before_the_first_generation_ends_the_gang_too() -> None:
    _, actions = told(training(trained=False), Look(0.0))
    assert actions == [Checkpoint(), EndSoon()]


def test_deaths_without_a_step_between_end_the_run() -> None:
    state = training()
    for death in range(DEATHS - 1):
        state, actions = told(state, ended("0", f"life-{death}"))
        assert actions[1:] == [
            Write("note", {"message": "worker 0 ended: exit code 1; it is replaced"}),
            Have(2),
        ]
    again, actions = told(state, PROGRESS, ended("0"))
    assert actions[-1] == Have(2) and again.over is None
    state, actions = told(state, ended("0"))
    assert actions == [Gone("0", "first-0")]
    assert failure(state) == (
        "train: expected worker 0 to finish, got exit code 1, 3 times without a step between; "
        "`make resume RUN=r` goes on from the last checkpoint"
    )


def test_generations_without_a_step_end_the_run() -> None:
    state, actions = told(training(), *[formed("0", "1")] * FUTILE)
    assert state.over is None and actions.count(Have(2)) == FUTILE
    again, _ = told(state, OBSERVED, formed("0", "1"))
    assert again.over is None
    state, actions = told(state, formed("0", "1"))
    assert not actions
    assert failure(state) == (
        "train: expected workers 0, 1 to train together, got 6 generations without a step; see in "
        "their logs who cannot reach whom, `make resume RUN=r` goes on from the last checkpoint"
    )


def test_only_a_generation_that_begins_anew_has_lost_work() -> None:
    state = training(trained=False)
    assert CountLost() not in told(state, formed("0", "1", fresh=True))[1]
    _, actions = told(training(), formed("0", "1", fresh=True))
    assert actions[0] == CountLost()
    assert CountLost() not in told(training(), formed("0", "1"))[1]


def test_more_workers_start_at_once_and_fewer_end_after_a_generation_without_them() -> None:
    state, actions = told(training(), ResizeAsked(3))
    facts = {"workers": 3, "before": 2, "machine_type": ""}
    assert actions == [Write("resize", facts), Members(3), Have(3)]
    state, actions = told(state, started("2"), ResizeAsked(1))
    assert Members(1) in actions and not any(isinstance(one, Have) for one in actions)
    assert not any(isinstance(one, Have) for one in told(state, formed("0", "1"))[1])
    assert told(state, formed("0"))[1][-1] == Have(1)


@pytest.mark.parametrize("workers", [0, 4])
def test_a_wish_out_of_bounds_leaves_the_gang_as_it_is(workers: int) -> None:
    state, actions = told(training(), ResizeAsked(workers))
    assert state == training()
    assert notes(actions) == [
        f"resize: expected 1 to 3 workers (max_workers), got {workers}; left at 2"
    ]
    assert len(actions) == 1


def test_a_stop_while_a_resize_is_pending_starts_nobody() -> None:
    state, _ = told(training(), ResizeAsked(3), Stop())
    late = [
        started("2"),
        formed("0", "1", "2"),
        ResizeAsked(1),
        Weighed(Advised(Size("", 1, 64))),
        ended("2"),
    ]
    state, actions = told(state, *late, OOM, Moved("n2", 2), Enlarged(OOM, MIB))
    assert not any(isinstance(action, STARTS) for action in actions)
    assert state.target == 3 and state.over is None


def test_another_machine_type_is_finished_once_its_workers_train() -> None:
    state, actions = told(training(), ResizeAsked(2, "n2-standard-4"))
    assert actions == [Move("n2-standard-4", 2)]
    refused, actions = told(state, Moved("n2-standard-4", 2, "no such machine type"))
    assert refused == state and notes(actions) == ["no such machine type"]
    state, actions = told(state, Moved("n2-standard-4", 2))
    facts = {"workers": 2, "before": 2, "machine_type": "n2-standard-4"}
    assert actions == [Write("resize", facts), Members(2)]
    assert not state.replaces("1.0")
    state, _ = told(state, started("1.0"), started("1.1"))
    assert state.held == {"": 2, "n2-standard-4": 2} and state.running == 2
    state, actions = told(state, formed("1.0", "1.1"))
    assert actions[1:] == [FinishMove(), Have(2)]
    assert FinishMove() not in told(state, formed("1.0", "1.1"))[1]


def test_an_oom_kill_is_answered_with_more_memory_once() -> None:
    state, actions = told(training(), OOM)
    assert actions == [Gone("1", "first-1"), Enlarge(OOM, 2)]
    state, actions = told(state, Enlarged(OOM, 2048 * MIB))
    assert notes(actions) == [
        "worker 1 ended: OOMKilled; once, its gang gets 2048 MiB a worker instead"
    ]
    assert FinishMove() not in actions  # 0 trains on until the others have taken the state
    assert state.replaces("1.0") and state.replaces("1.1")
    second = replace(OOM, worker="1.0", uid="second")
    state, actions = told(state, second)
    assert actions == [Gone("1.0", "second")]
    assert failure(state).startswith(
        "train: expected worker 1.0 to fit into 2048 MiB of memory, which it got after a first OOM "
        "kill, got OOMKilled; take a larger machine type"
    )


def test_with_nobody_left_those_before_more_memory_go_at_once() -> None:
    state, _ = told(training(1), replace(OOM, worker="0", uid="first-0"))
    assert told(state, Enlarged(OOM, MIB))[1][-1] == FinishMove()


def test_where_there_is_no_more_memory_the_worker_is_replaced() -> None:
    state, _ = told(training(), OOM)
    _, actions = told(state, Enlarged(OOM, 0, "the cluster says no"))
    assert notes(actions) == [
        "the cluster says no", "worker 1 ended: OOMKilled; it is replaced",
    ]  # fmt: skip
    assert actions[-1] == Have(2)


def test_who_waits_for_a_place_is_waited_for_as_long_as_was_asked() -> None:
    alone = training(0)
    state, _ = told(alone, UNSCHEDULABLE)
    assert failure(state) == (
        "train: expected worker 0 to start, got 0/3 nodes are available; ask for what the cluster "
        "has, or give it queue_seconds to add a node"
    )
    alone = training(0, queue_seconds=60.0)
    state, actions = told(alone, UNSCHEDULABLE)
    assert notes(actions) == ["worker 0 waits: 0/3 nodes are available"]
    assert rules.wake_seconds(state) == NOW + 60
    placed, _ = told(state, started("0"), Look(LONG), at=NOW + 61)
    assert placed.over is None
    state, _ = told(state, Look(LONG), at=NOW + 60)
    assert "queue_seconds" in failure(state)
    state, _ = told(alone, pending("0", cause="image", reason="ErrImagePull", fatal=True))
    assert failure(state).endswith("got ErrImagePull; correct it, then `make resume`")


def test_who_a_resize_adds_replaces_nobody() -> None:
    state, _ = told(training(), ResizeAsked(3))
    assert not state.replaces("2")
    state, actions = told(state, ResizeAsked(2), ended("2"))  # as it was asked to
    assert Have(2) not in actions
    state, _ = told(state, ResizeAsked(3))
    assert not state.replaces("2")


def test_who_follows_one_that_was_wanted_replaces_it_once() -> None:
    state, _ = told(training(), ended("1", cause="eviction", reason="Evicted"))
    assert state.replaces("1")
    assert not state.replaces("0")
    state, _ = told(state, started("1", "second-1"))
    assert not state.replaces("1")
