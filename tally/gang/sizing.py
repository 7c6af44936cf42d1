"""How large a gang is to be: as it was asked for, or as pays where that is Tally's to choose. Pure.

The policy says what pays (scaling/); here is when it is asked, when it is believed, what follows.
"""

from dataclasses import replace

from tally.gang.actions import (
    Action,
    Changed,
    Decided,
    GiveUp,
    Have,
    Members,
    Move,
    Outcome,
    Rebatch,
    Weigh,
    Write,
    note,
)
from tally.gang.gang import Size
from tally.gang.known import Advice, Moved, Sizing, State, Weighed
from tally.gang.replacing import lost

WEIGH_SECONDS = 4.0
PENDING_SECONDS = 30.0  # a worker without a place is not waited for any longer


def resize(state: State, workers: int, machine_type: str) -> Outcome:
    """Have so many from now on, of another machine type where one is given."""
    if not 1 <= workers <= state.asked.max_workers:
        words = (
            f"resize: expected 1 to {state.asked.max_workers} workers (max_workers), got "
            f"{workers}; left at {state.target}"
        )
        return state, [note(words)]
    if machine_type:
        return state, [Move(machine_type, workers)]
    return _resized(state, workers, "")


def moved(state: State, told: Moved) -> Outcome:
    """Workers on another machine type start, or do not."""
    if told.refused:
        return state, [note(told.refused)]
    machine_types = (*state.machine_types, told.machine_type)
    state = replace(state, machine_types=machine_types, moving=True, enlarged_bytes=0)
    return _resized(state, told.workers, told.machine_type)


def look(state: State, now_seconds: float) -> Outcome:
    """Go on with the workers that came where the others have no place; else ask what pays now."""
    sizing = state.sizing
    if sizing is None:
        return state, []
    ordered, now = sizing.ordered_seconds, sizing.now
    if ordered is not None and now:
        if _place(now) == (state.kind, state.target):  # they train: who dies later is replaced
            sizing = replace(sizing, ordered_seconds=None)
        elif state.running >= state.target:  # who loses its place before that may wait as long
            sizing = replace(sizing, ordered_seconds=now_seconds)
        elif now_seconds > ordered + PENDING_SECONDS:
            return _given_up(state, sizing, now)
    if now_seconds < sizing.next_seconds:
        return replace(state, sizing=sizing), []
    sizing = replace(sizing, next_seconds=now_seconds + WEIGH_SECONDS)
    return replace(state, sizing=sizing), [] if sizing.now is None else [Weigh()]


def weighed(state: State, now_seconds: float, told: Weighed) -> Outcome:
    """What pays is known: it stays, it changes, or the next look has to say it too."""
    sizing, advice = state.sizing, told.advice
    if told.change is not None:
        if advice is None or advice.size != told.size:
            return lost(state, told.change)
        reason = f"not replaced ({told.change.reason}): {advice.reason}"
        state, actions = _ordered(state, now_seconds, advice, reason)
        state, more = resize(state, advice.size.workers, "")
        return state, [*actions, *more]
    if sizing is None or sizing.now is None or advice is None:
        return state, []
    now, size = sizing.now, advice.size
    state = replace(state, sizing=replace(sizing, wanted=size, stayed=sizing.stayed or size == now))
    if size == now:
        return state, [] if sizing.stayed else [Decided(now, size, advice.reason, advice)]
    if _place(size) != _place(now) and size != sizing.wanted:
        return state, []  # a noisy look is no reason to restart
    state, actions = _ordered(state, now_seconds, advice, advice.reason)
    state, more = _sized(state, size)
    return state, [*actions, *more]


def _given_up(state: State, sizing: Sizing, now: Size) -> Outcome:
    running, target = state.running, state.target
    size = Size(state.kind, max(1, running), sizing.batch_size)
    reason = (
        f"{target - running} of {target} workers had no place for {PENDING_SECONDS:.0f} s: it goes "
        f"on with the {running} that came"
    )
    given_up: list[Action] = [GiveUp(state.kind, running), Decided(now, size, reason)]
    state, actions = _sized(replace(state, sizing=replace(sizing, ordered_seconds=None)), size)
    return state, [*given_up, *actions]


def _ordered(state: State, now_seconds: float, advice: Advice, reason: str) -> Outcome:
    sizing = state.sizing
    if sizing is None or sizing.now is None:
        return state, []
    actions: list[Action] = [
        Decided(sizing.now, advice.size, reason, advice),
        Changed(sizing.now, advice),
    ]
    sizing = replace(sizing, ordered_seconds=now_seconds, stayed=False)
    return replace(state, sizing=sizing), actions


def _sized(state: State, size: Size) -> Outcome:
    """Change to this size."""
    actions: list[Action] = [Rebatch(size.batch_size)] if state.asked.rebatches else []
    if _place(size) == (state.kind, state.target):
        return state, actions
    kind = "" if size.machine_type == state.kind else size.machine_type
    state, more = resize(state, size.workers, kind)
    return state, [*actions, *more]


def _resized(state: State, workers: int, machine_type: str) -> Outcome:
    """Those that are too many end once a generation without them has formed."""
    before, state = state.target, replace(state, target=workers)
    facts = {"workers": workers, "before": before, "machine_type": machine_type}
    actions: list[Action] = [Write("resize", facts), Members(workers)]
    if workers > before and not machine_type:
        actions.append(Have(workers))
    return state, actions


def _place(size: Size) -> tuple[str, int]:
    return size.machine_type, size.workers
