"""What a training's conductor is told, made up, and the rules fed with it."""

from dataclasses import dataclass
from typing import Any

from tally.gang import messages as say
from tally.gang import rules
from tally.gang.actions import (
    Action,
    Write,
)
from tally.gang.coordinator.events import Formed, Observation, Observed
from tally.gang.gang import Size, WorkerChange
from tally.gang.known import (
    Asked,
    State,
)

NOW, LONG = 100.0, 1e9
MIB = 1 << 20


@dataclass(frozen=True)
class Advised:
    """What the policy says."""

    size: Size
    reason: str = "it pays"


def training(workers: int = 2, *, trained: bool = True, **asked: Any) -> State:
    """A gang that trains."""
    given = Asked(**{"run_id": "r", "max_workers": 3, **asked})
    state = State(asked=given, target=workers, trained=trained)
    for index in range(workers):
        state, _ = told(state, started(str(index)))
    return state


def told(state: State, *inputs: Any, at: float = NOW) -> tuple[State, list[Action]]:
    """The state after these, and all that is done about them."""
    actions: list[Action] = []
    for one in inputs:
        state, more = rules.decide(state, at, one)
        actions += more
    return state, actions


def started(worker: str, uid: str = "") -> WorkerChange:
    return WorkerChange(worker=worker, uid=uid or f"first-{worker}", state="started")


def ended(worker: str, uid: str = "", **how: Any) -> WorkerChange:
    given = {"cause": "exit", "reason": "exit code 1", **how}
    return WorkerChange(worker=worker, uid=uid or f"first-{worker}", state="ended", **given)


def pending(worker: str, **how: Any) -> WorkerChange:
    return WorkerChange(worker=worker, uid=f"next-{worker}", state="pending", **how)


def formed(*workers: str, fresh: bool = False) -> Formed:
    return Formed(1, workers, 0, fresh)


def notes(actions: list[Action]) -> list[str]:
    wrote = [action for action in actions if isinstance(action, Write)]
    return [str(action.fields["message"]) for action in wrote if action.kind == "note"]


def failure(state: State) -> str:
    assert state.over is not None and state.over.why == "failed"
    return state.over.message


OBSERVED = Observed("0", Observation(1, 1, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0))
PROGRESS = say.Progress(1, 9, 0, 1.0, {"accuracy": 0.5}, 1.0)
FINISHED = say.Finished(7, 0.5, 1.0, {"accuracy": 0.9})
ORPHANED = ended("0", reason="exit code 75 (see its log)", exit_code=75)
OOM = ended("1", cause="oom", reason="OOMKilled", memory_limit_bytes=384 * MIB)
UNSCHEDULABLE = pending("0", cause="unschedulable", reason="0/3 nodes are available")
