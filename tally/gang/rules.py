"""What a training's conductor does about what it is told: one input in, the next state and what to
do out. Pure.

Nothing is done after the end, and its first cause stays. Whoever stops a training orders a
checkpoint first and waits for the workers' end; from then on nobody is started.
"""

import math
from dataclasses import replace

from tally.gang import messages as say
from tally.gang import sizing
from tally.gang.actions import (
    Action,
    Checkpoint,
    CountLost,
    EndLife,
    EndSoon,
    FinishMove,
    Have,
    Outcome,
    Work,
    note,
)
from tally.gang.coordinator.events import Dropped, Formed, Observed, ResizeAsked
from tally.gang.gang import Size, WorkerChange
from tally.gang.known import (
    End,
    Enlarged,
    Input,
    Look,
    Moved,
    State,
    Stop,
    Stopping,
    Weighed,
    Why,
)
from tally.gang.replacing import changed, enlarged, failed, no_place

STOP_SECONDS = 1.6  # the workers' last call and a checkpoint, inside submit's two seconds
LIMIT_SECONDS = 40.0  # the same where nobody waits: a bucket may take its time
FUTILE = 6  # generations in a row without a step: somebody cannot be reached


def decide(state: State, now_seconds: float, told: Input) -> Outcome:
    """What to do about one thing that happened.

    Args:
        state: before.
        now_seconds: on any clock that does not step.
        told: what happened.
    """
    if state.over is not None:
        return state, []
    match told:
        case Look():
            return _look(state, now_seconds, told.limit_seconds)
        case Stop():
            return _stop(state, "told", now_seconds + STOP_SECONDS, at_once=True)
        case WorkerChange():
            return changed(state, now_seconds, told)
        case Formed():
            return _formed(state, told)
        case Observed():
            return replace(state, futile=0), []
        case Dropped(worker, uid, reason):
            left = note(f"worker {worker} was left behind: {reason}")
            return state, [left, EndLife(worker, uid)]
        case say.Progress() | say.Finished() | say.Failed():
            return _said(state, told)
    return _resizing(state, now_seconds, told)


def wake_seconds(state: State) -> float:
    """When to `Look` again, whatever is told until then; infinity for never."""
    if state.stopping is not None:
        return state.stopping.until_seconds
    until = math.inf if state.queue_until_seconds is None else state.queue_until_seconds
    return min(until, state.sizing.next_seconds) if state.sizing else until


def _look(state: State, now_seconds: float, limit_seconds: float) -> Outcome:
    """Nobody waits for a place for ever, nor for who was told to end; limits are kept."""
    actions: list[Action] = []
    if state.stopping is None:
        queue_until = state.queue_until_seconds
        if queue_until is not None and queue_until <= now_seconds:
            return no_place(state)
        if limit_seconds > 0:
            return sizing.look(state, now_seconds)
        until = now_seconds + LIMIT_SECONDS
        state, actions = _stop(state, "limit", until, at_once=not state.trained)
    if state.stopping and (not state.alive or state.stopping.until_seconds <= now_seconds):
        state = replace(state, over=End(state.stopping.why))
    return state, actions


def _stop(state: State, why: Why, until_seconds: float, *, at_once: bool) -> Outcome:
    """A checkpoint, and the end: of the gang too where nobody trains or somebody waits for it."""
    before = state.stopping or Stopping(why, until_seconds)
    until = min(before.until_seconds, until_seconds)
    state = replace(state, stopping=Stopping(before.why, until))
    return state, [Checkpoint(), EndSoon()] if at_once else [Checkpoint()]


def _said(state: State, message: say.Progress | say.Finished | say.Failed) -> Outcome:
    match message:
        case say.Progress():
            return replace(state, deaths=0), []
        case say.Finished():
            return replace(state, over=End("finished", finished=message)), []
    if message.exit_code == 2:
        return replace(state, over=End("bad input", message.message)), []
    return failed(state, message.message)


def _formed(state: State, formed: Formed) -> Outcome:
    """A generation begins: who is in it works, who is above the target ends."""
    state = replace(state, futile=state.futile + 1)
    if state.futile > FUTILE:
        return failed(
            state,
            f"train: expected workers {', '.join(formed.workers)} to train together, got "
            f"{FUTILE} generations without a step; see in their logs who cannot reach whom, "
            f"`make resume RUN={state.asked.run_id}` goes on from the last checkpoint",
        )
    actions: list[Action] = [CountLost()] if formed.fresh and state.trained else []
    state = replace(state, trained=True)
    if state.sizing is None:
        actions.append(Work(formed, None))
    else:
        batch_size = formed.batch_size or state.sizing.batch_size
        size = Size(state.kind, len(formed.workers), batch_size)
        actions.append(Work(formed, size))
        state = replace(state, sizing=replace(state.sizing, now=size, batch_size=batch_size))
    if state.stopping is None and state.wanted(formed.workers):
        if state.moving:
            actions.append(FinishMove())
        actions.append(Have(state.target))
        state = replace(state, moving=False)
    return state, actions


def _resizing(state: State, now_seconds: float, told: Input) -> Outcome:
    """What is about the size of the gang, and what it answered; a stop leaves it as it is."""
    if state.stopping is not None:
        return state, []
    match told:
        case ResizeAsked(workers, machine_type):
            return sizing.resize(state, workers, machine_type)
        case Weighed():
            return sizing.weighed(state, now_seconds, told)
        case Moved():
            return sizing.moved(state, told)
        case Enlarged():
            return enlarged(state, told)
    return state, []
