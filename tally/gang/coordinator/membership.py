"""Who is a member when: one input in, the next state and what to do out. Pure.

Membership changes in one way only: pause, all living members rest, the next generation.
"""

from dataclasses import dataclass, replace
from typing import Literal

from tally.gang.coordinator import forming
from tally.gang.coordinator.events import Dropped, Joined, Left, Ready
from tally.gang.coordinator.forming import Turn, remove
from tally.gang.coordinator.state import (
    Decision,
    Finish,
    Life,
    Refuse,
    State,
    Tell,
    Welcome,
    order_of,
)

Outcome = tuple[State, list[Decision]]
Phase = Literal["joining", "ready", "training", "resting"]
DROPPED = 1024  # lives that are remembered as left behind


@dataclass(frozen=True)
class Report:
    """What a worker says of itself in a heartbeat.

    Attributes:
        phase: what it does.
        generation: the one that it trains in or rests from.
        step: committed.
        has_state: it holds the variables of `step`.
        address: of its collective; "" leaves the former.
    """

    phase: Phase
    generation: int = 0
    step: int = 0
    has_state: bool = False
    address: str = ""


def join(state: State, now_seconds: float, life: Life) -> Outcome:
    """A worker wants in. A second one of the same name is refused while the first gives signs."""
    if (life.uid, life.nonce) in state.dropped:
        # it was told so, but a stream that is cut can lose its last words
        message = (
            f"worker {life.worker}: expected a new life, got {life.uid}, which was left behind"
        )
        return state, [Refuse(f"{message}; start another", full=False)]
    turn = Turn(state, now_seconds)
    for other in [other for other in state.lives.values() if other.worker == life.worker]:
        same = (other.uid, other.nonce) == (life.uid, life.nonce)
        if not same and now_seconds - other.seen_seconds < state.limits.silent_seconds:
            message = (
                f"worker {life.worker}: expected one life at a time, got {life.uid} while "
                f"{other.uid} still answers; end that one first"
            )
            return state, [Refuse(message, full=False)]
        reason = "its connection was cut; it joined again" if same else f"replaced by {life.uid}"
        turn.decisions.append(Finish(other.member, None if same else "dropped", reason))
        remove(turn, other, Dropped(other.worker, other.uid, reason))
    if len(turn.state.lives) >= state.limits.workers:
        message = f"expected at most {state.limits.workers} workers, got one more; try again later"
        return state, [Refuse(message, full=True)]
    turn.state = replace(turn.state, lives={**turn.state.lives, life.member: life})
    turn.decisions += [Welcome(life), Tell(Joined(life.worker, life.uid))]
    if turn.state.stopping:
        forming.dismiss(turn, life, "the training is being stopped")
    return _decided(turn)


def heard(state: State, now_seconds: float, member: bytes, report: Report) -> Outcome:
    """A heartbeat. What does not fit the member's own generation changes nothing but its age."""
    turn = Turn(state, now_seconds)
    life = state.lives.get(member)
    if life is None:
        return state, []
    life = replace(life, seen_seconds=now_seconds)
    newly = life.phase == "joining" and (
        report.phase == "ready"
        or (report.phase == "resting" and report.generation <= state.generation)
    )
    rests = report.phase == "resting" and (
        newly or (life.phase == "training" and report.generation == life.generation)
    )
    if newly or rests:
        life = replace(life, phase="idle", address=report.address or life.address)
    if rests:
        life = replace(life, step=report.step, has_state=report.has_state)
    turn.state = replace(state, lives={**state.lives, member: life})
    if newly:
        turn.decisions.append(Tell(Ready(life.worker, life.uid)))
    elif rests and state.pausing is None:
        # its collective failed before we knew of a loss: the others cannot go on either
        turn.state = replace(turn.state, lost=True)
    return _decided(turn) if newly or rests else (turn.state, turn.decisions)


def gone(state: State, now_seconds: float, member: bytes, reason: str) -> Outcome:
    """A worker's stream or process has ended."""
    turn = Turn(state, now_seconds)
    life = state.lives.get(member)
    if life is None:
        return state, []
    stopped = state.order == "stop" and member in state.members
    out = Left if stopped else Dropped
    turn.decisions.append(Finish(member, None if stopped else "dropped", reason))
    remove(turn, life, out(life.worker, life.uid, "stopped" if stopped else reason))
    return _decided(turn)


def leave(state: State, now_seconds: float, member: bytes, reason: str) -> Outcome:
    """A worker asks to be left out, or says that it has finished."""
    turn = Turn(state, now_seconds)
    life = state.lives.get(member)
    if life is None:
        return state, []
    in_training = member in state.members and state.order == "train"
    if reason == "finished":
        turn.state = replace(state, finishing=state.finishing or in_training)
        turn.decisions.append(Finish(member, "finished", "the training is finished"))
        remove(turn, life, Left(life.worker, life.uid, reason))
    elif in_training:
        leaving = replace(life, leaving=reason or "leave", seen_seconds=now_seconds)
        turn.state = replace(state, lives={**state.lives, member: leaving})
    else:
        forming.dismiss(turn, life, reason)
    return _decided(turn)


def resize(state: State, now_seconds: float, workers: int) -> Outcome:
    """Have at most so many members: those with the lowest indexes of all that live."""
    turn = Turn(state, now_seconds)
    ordered = sorted(state.lives.values(), key=order_of)
    lives = {life.member: replace(life, surplus=i >= workers) for i, life in enumerate(ordered)}
    turn.state = replace(state, target=workers, lives=lives)
    for life in lives.values():
        if life.surplus and life.member not in state.members:
            forming.dismiss(turn, life, "resize")
    return _decided(turn)


def rebatch(state: State, now_seconds: float, batch_size: int) -> Outcome:
    """Train with this global batch from the next generation on."""
    return _decided(Turn(replace(state, batch_size=batch_size), now_seconds))


def stop(state: State, now_seconds: float) -> Outcome:
    """End the training in good order: pause, rest, a checkpoint; no generation trains after it."""
    turn = Turn(replace(state, stopping=True), now_seconds)
    return _decided(turn)


def look(state: State, now_seconds: float) -> Outcome:
    """Time has passed: drop who is silent or does not rest, do what was waiting."""
    turn = Turn(state, now_seconds)
    for life in state.lives.values():
        if now_seconds >= life.seen_seconds + _silent_seconds(state, life):
            quiet = now_seconds - life.seen_seconds
            _drop(turn, life, f"no heartbeat for {quiet:.1f} s")
    deadline = _rest_deadline(state)
    if deadline is not None and now_seconds >= deadline:
        for member in state.members:
            late = turn.state.lives.get(member)
            if late is not None and late.phase == "training":
                _drop(turn, late, f"it did not rest in time from generation {state.generation}")
    return _decided(turn)


def wake_seconds(state: State) -> float | None:
    """When to `look` again."""
    limits = state.limits
    times = [life.seen_seconds + _silent_seconds(state, life) for life in state.lives.values()]
    deadline = _rest_deadline(state)
    if deadline is not None:
        times.append(deadline)
    if state.change_seconds is not None:
        times.append(state.change_seconds + limits.settle_seconds)
    if state.ready_seconds is not None:
        times.append(state.ready_seconds + forming.first_wait_seconds(state))
    return min(times, default=None)


def excuse(state: State, late_seconds: float) -> State:
    """The coordinator itself was asleep so long: nobody else was late."""
    lives = {
        member: replace(life, seen_seconds=life.seen_seconds + late_seconds)
        for member, life in state.lives.items()
    }
    pausing = state.pausing
    if pausing is not None:
        pausing = replace(pausing, since_seconds=pausing.since_seconds + late_seconds)
    return replace(state, lives=lives, pausing=pausing)


def _decided(turn: Turn) -> Outcome:
    forming.decide(turn)
    return turn.state, turn.decisions


def _drop(turn: Turn, life: Life, reason: str) -> None:
    dropped = (*turn.state.dropped, (life.uid, life.nonce))[-DROPPED:]
    turn.state = replace(turn.state, dropped=dropped)
    turn.decisions.append(Finish(life.member, "dropped", reason))
    remove(turn, life, Dropped(life.worker, life.uid, reason))


def _silent_seconds(state: State, life: Life) -> float:
    joining = life.phase == "joining"
    return state.limits.joining_silent_seconds if joining else state.limits.silent_seconds


def _rest_deadline(state: State) -> float | None:
    if state.pausing is None:
        return None
    urgent = state.pausing.urgent
    wait = state.limits.rest_urgent_seconds if urgent else state.limits.rest_seconds
    return state.pausing.since_seconds + wait
