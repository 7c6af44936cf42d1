"""Who is replaced, who is waited for and who gets more memory. Pure."""

from dataclasses import replace

from tally.gang.actions import (
    Enlarge,
    FinishMove,
    Gone,
    Have,
    Outcome,
    Weigh,
    Write,
    note,
)
from tally.gang.gang import Size, WorkerChange, move_and_index
from tally.gang.known import End, Enlarged, State

DEATHS = 3  # of workers in a row, without a step done between them
REMEDY = 'take a larger machine type (SET="machine_type=…") or a smaller batch_size'
_MEBIBYTE = 1 << 20


def failed(state: State, message: str) -> Outcome:
    """It cannot go on: the one line for the user."""
    return replace(state, over=End("failed", message)), []


def changed(state: State, now_seconds: float, change: WorkerChange) -> Outcome:
    """A worker's process or pod began, waits, or ended."""
    match change.state:
        case "started":
            alive = {**state.alive, change.uid: change.worker}
            died = state.died - {change.worker}
            return replace(state, alive=alive, died=died, queue_until_seconds=None), []
        case "pending":
            return _waits(state, now_seconds, change)
    state = replace(state, alive={u: w for u, w in state.alive.items() if u != change.uid})
    gone = Gone(change.worker, change.uid)
    if state.stopping is not None:
        return state, [gone]
    if state.sizing and state.sizing.now and _was_taken(state, change):
        left = Size(state.kind, state.target - 1, state.sizing.batch_size)
        return state, [gone, Weigh(change, left)]
    state, actions = lost(state, change)
    return state, [gone, *actions]


def lost(state: State, change: WorkerChange) -> Outcome:
    """A worker has ended: if it is still wanted, it is replaced or its gang gets more memory."""
    if change.fatal:
        return failed(
            state, f"train: expected the gang to live, got {change.reason}; `make resume`"
        )
    if not state.wanted([change.worker]):
        return state, []
    state = replace(state, died=state.died | {change.worker})
    if change.cause != "oom":
        return _replaced(state, change)
    if state.enlarged_bytes:
        return failed(
            state,
            f"train: expected worker {change.worker} to fit into "
            f"{_mebibytes(state.enlarged_bytes)} of memory, which it got after a first OOM kill, "
            f"got {change.reason}; {REMEDY}, then `make resume RUN={state.asked.run_id}` goes on "
            "from the last checkpoint",
        )
    return state, [Enlarge(change, state.target)]


def enlarged(state: State, given: Enlarged) -> Outcome:
    """After the first OOM kill the gang begins once more with more memory, where there is more.

    The others train on until the new ones have taken the state; none else is lost.
    """
    change, more = given.change, given.memory_bytes
    if not more:
        state, actions = _replaced(state, change)
        return state, [note(given.refused), *actions] if given.refused else actions
    words = f"worker {change.worker} ended: {change.reason}; once, its gang gets "
    facts = {
        "worker": change.worker,
        "memory_bytes": more,
        "before_bytes": change.memory_limit_bytes,
    }
    actions = [note(f"{words}{_mebibytes(more)} a worker instead"), Write("enlarged", facts)]
    move = len(state.machine_types)
    state = replace(
        state,
        enlarged_bytes=more,
        machine_types=(*state.machine_types, state.kind),
        died=state.died | {f"{move}.{index}" for index in range(state.target)},
        moving=bool(state.alive),
    )
    if not state.alive:  # else Kubernetes would start the killed one again beside them
        actions.append(FinishMove())
    return state, actions


def _waits(state: State, now_seconds: float, change: WorkerChange) -> Outcome:
    """A worker has no place yet; maybe it will never have one, or nobody has one or may wait."""
    if not change.reason:
        return state, []
    state = replace(state, waiting=f"worker {change.worker} to start, got {change.reason}")
    if change.fatal:
        return failed(state, f"train: expected {state.waiting}; correct it, then `make resume`")
    if change.cause == "unschedulable" and not state.alive:
        if state.asked.queue_seconds <= 0:
            return no_place(state)
        until = state.queue_until_seconds or now_seconds + state.asked.queue_seconds
        state = replace(state, queue_until_seconds=until)
    return state, [note(f"worker {change.worker} waits: {change.reason}")]


def no_place(state: State) -> Outcome:
    """Nobody of the gang has a place to run."""
    return failed(
        state,
        f"train: expected {state.waiting}; ask for what the cluster has, or give it "
        "queue_seconds to add a node",
    )


def _replaced(state: State, change: WorkerChange) -> Outcome:
    state = replace(state, deaths=state.deaths + 1)
    if state.deaths >= DEATHS:
        first = f"{REMEDY}; then " if change.cause == "oom" else ""
        return failed(
            state,
            f"train: expected worker {change.worker} to finish, got {change.reason}, "
            f"{state.deaths} times without a step between; "
            f"{first}`make resume RUN={state.asked.run_id}` goes on from the last checkpoint",
        )
    words = f"worker {change.worker} ended: {change.reason}; it is replaced"
    return state, [note(words), Have(state.target)]


def _was_taken(state: State, change: WorkerChange) -> bool:
    """Whether this was the last of the wanted workers, and the cluster took it away."""
    last = state.wanted([change.worker]) and move_and_index(change.worker)[1] + 1 == state.target
    return last and change.cause in ("eviction", "node_lost") and state.target > 1


def _mebibytes(count_bytes: int) -> str:
    return f"{count_bytes // _MEBIBYTE} MiB"
