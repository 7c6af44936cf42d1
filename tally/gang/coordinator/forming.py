"""When a generation ends and who is in the next. Pure."""

from dataclasses import dataclass, field, replace

from tally.gang.coordinator.events import Dropped, Empty, Formed, Left, Reason, Rested
from tally.gang.coordinator.state import (
    Decision,
    Finish,
    Form,
    Life,
    Pause,
    Pausing,
    State,
    Tell,
    order_of,
)


@dataclass
class Turn:
    """One input being handled: the state so far, and what was decided."""

    state: State
    now_seconds: float
    decisions: list[Decision] = field(default_factory=list)


def decide(turn: Turn) -> None:
    """Do whatever the state now calls for."""
    if turn.state.members:
        if turn.state.order == "stop":
            return  # they save a checkpoint and end
        _pause_if_wanted(turn)
        if all(life.phase == "idle" for life in _members(turn.state)):
            _after_rest(turn)
    elif turn.state.stopping and turn.state.over is None:
        turn.state = replace(turn.state, over="dismissed")
    elif turn.state.over is None:
        _first(turn)
    if turn.state.over is not None:
        for life in turn.state.lives.values():
            _finish(turn, life, turn.state.over, "the training has ended")


def chosen(state: State) -> tuple[Life, ...]:
    """Who would be a member of a generation formed now, by rank.

    The lowest indexes of those that are ready and stay. Where none of them has the state and
    somebody else has it, that one comes along for one generation, to hand it over.
    """
    ready = [life for life in state.lives.values() if life.phase != "joining"]
    staying = [life for life in ready if not life.leaving and not life.surplus]
    # those that a resize left over go on until one of the others is ready
    staying = staying or [life for life in ready if not life.leaving]
    picked = sorted(staying, key=order_of)[: state.target]
    holders = sorted((life for life in ready if _holds(life)), key=order_of)
    if picked and holders and not any(_holds(life) for life in picked):
        donor = max(holders, key=lambda life: life.step)
        picked = sorted([*picked[: max(1, state.target - 1)], donor], key=order_of)
    return tuple(picked)


def first_wait_seconds(state: State) -> float:
    """How long workers that are ready wait for others while there is no generation."""
    limits = state.limits
    # they have joined again after a cut, with their state: others that do come at once
    kept = any(life.phase == "idle" and life.has_state for life in state.lives.values())
    return limits.settle_seconds if kept else limits.first_wait_seconds


def dismiss(turn: Turn, life: Life, reason: str) -> None:
    """Let a worker go in good order."""
    _finish(turn, life, "dismissed", reason)


def remove(turn: Turn, life: Life, event: Left | Dropped) -> None:
    """Take a life out; if it was a member, its generation is broken unless it had finished."""
    state = turn.state
    turn.decisions.append(Tell(event))
    lives = {member: other for member, other in state.lives.items() if member != life.member}
    turn.state = replace(state, lives=lives)
    if life.member not in state.members:
        return
    clean = isinstance(event, Left)
    turn.state = replace(
        turn.state,
        members=tuple(member for member in state.members if member != life.member),
        lost=state.lost or not clean,
        unfinished=state.unfinished or not (clean and event.reason == "finished"),
    )
    if not turn.state.members:
        _emptied(turn)


def _emptied(turn: Turn) -> None:
    state = replace(turn.state, lost=False, pausing=None, change_seconds=None, finishing=False)
    if not state.unfinished:
        state = replace(state, over="finished")
    elif state.stopping:
        state = replace(state, over="dismissed")
    else:
        turn.decisions.append(Tell(Empty()))
    turn.state = state


def _finish(turn: Turn, life: Life, reason: Reason, message: str) -> None:
    turn.decisions.append(Finish(life.member, reason, message))
    remove(turn, life, Left(life.worker, life.uid, reason if reason == "finished" else message))


def _pause_if_wanted(turn: Turn) -> None:
    state = turn.state
    if state.lost:
        if state.pausing is None or not state.pausing.urgent:
            _pause(turn, urgent=True)
        return
    if state.pausing is not None:
        return
    if state.stopping:
        _pause(turn, urgent=False)
        return
    wanted = {life.member for life in chosen(state)}
    same = wanted == set(state.members) and state.batch_size == state.formed_batch_size
    if state.finishing or same:
        turn.state = replace(state, change_seconds=None)
        return
    since = turn.now_seconds if state.change_seconds is None else state.change_seconds
    turn.state = replace(state, change_seconds=since)
    if turn.now_seconds >= since + state.limits.settle_seconds:
        _pause(turn, urgent=False)


def _pause(turn: Turn, urgent: bool) -> None:
    state = turn.state
    training = tuple(life.member for life in _members(state) if life.phase == "training")
    if training:
        turn.decisions.append(Pause(state.generation, urgent, training))
    pausing = Pausing(turn.now_seconds, urgent)
    turn.state = replace(state, pausing=pausing, change_seconds=None)


def _after_rest(turn: Turn) -> None:
    state = turn.state
    steps = {life.worker: life.step for life in _members(state)}
    turn.decisions.append(Tell(Rested(state.generation, steps)))
    picked = () if state.stopping else chosen(state)
    if picked:
        _train(turn, picked)
    else:
        _stop(turn)


def _first(turn: Turn) -> None:
    state = turn.state
    picked = chosen(state)
    if not picked:
        turn.state = replace(state, ready_seconds=None)
        return
    since = turn.now_seconds if state.ready_seconds is None else state.ready_seconds
    turn.state = replace(state, ready_seconds=since)
    waited = turn.now_seconds >= since + first_wait_seconds(state)
    if waited or len(picked) >= state.target:
        _train(turn, picked)


def _train(turn: Turn, picked: tuple[Life, ...]) -> None:
    former = set(turn.state.members)
    donor, fresh = _donor(picked)
    form = _form(turn, picked, donor, fresh, stopping=False)
    names = tuple(life.worker for life in picked)
    turn.decisions += [form, Tell(Formed(form.generation, names, donor, fresh, form.batch_size))]
    members = set(turn.state.members)
    for life in turn.state.lives.values():
        out = life.member in former or life.leaving or life.surplus
        if out and life.member not in members:
            dismiss(turn, life, life.leaving or "resize")
    _pause_if_wanted(turn)  # who came along to hand the state over goes without a further input


def _stop(turn: Turn) -> None:
    """All that is left of the generation is to save its state."""
    members = _members(turn.state)
    donor, fresh = _donor(members)
    if fresh:
        for life in members:
            dismiss(turn, life, life.leaving or "stop")
    else:
        turn.decisions.append(_form(turn, members, donor, fresh, stopping=True))
    if turn.state.stopping:
        for life in turn.state.lives.values():
            if life.member not in turn.state.members:
                dismiss(turn, life, "the training is being stopped")


def _donor(lives: tuple[Life, ...]) -> tuple[int, bool]:
    """The lowest rank with the highest committed step, and whether nobody has any state."""
    steps = [life.step if life.has_state else -1 for life in lives]
    return steps.index(max(steps)), not any(life.has_state for life in lives)


def _form(turn: Turn, lives: tuple[Life, ...], donor: int, fresh: bool, *, stopping: bool) -> Form:
    state = turn.state
    generation = state.generation + 1
    members = tuple(replace(life, phase="training", generation=generation) for life in lives)
    turn.state = replace(
        state,
        generation=generation,
        lives={**state.lives, **{life.member: life for life in members}},
        members=tuple(life.member for life in members),
        order="stop" if stopping else "train",
        formed_batch_size=state.batch_size,
        lost=False,
        unfinished=stopping,
        finishing=False,
        pausing=None,
        change_seconds=None,
        ready_seconds=None,
    )
    return Form(generation, members, donor, fresh, turn.state.order, state.batch_size)


def _members(state: State) -> tuple[Life, ...]:
    return tuple(state.lives[member] for member in state.members)


def _holds(life: Life) -> bool:
    # a member that trains got the state by broadcast
    return life.has_state or life.phase == "training"
