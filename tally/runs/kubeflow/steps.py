"""Pure: a run as the server shows it → its steps' states and how it ended.

The server's task_details are Argo's nodes, 39 of them for 4 tasks: of a task T there are T-driver,
T, and an `executor`, each with a twin "…(0)"; besides there are DAGs, the Workflow, and rows
without a name. The row named like the task is the task.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

State = Literal[
    "pending", "starting", "waiting", "running", "succeeded", "failed", "skipped", "stopped"
]
End = Literal["succeeded", "failed", "cancelled", "skipped"]
_GOES_ON = ("", "RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "CANCELING", "PAUSED")
_ENDED: tuple[State, ...] = ("succeeded", "failed", "skipped", "stopped")
_NO_TIME = ("", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z")
_UNKNOWN_DAGS = ("root",)


@dataclass(frozen=True)
class Step:
    """A task of a pipeline.

    Attributes:
        state: "starting" while Kubeflow's driver prepares it, "waiting" while its pod has no node.
        seconds: from its start to its end, None before the end.
        nodes: Argo's ids of the nodes whose pods' logs tell why it failed.
    """

    name: str
    state: State
    seconds: float | None = None
    nodes: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether it changes no more."""
        return self.state in _ENDED


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: a run that was terminated is "cancelled", though the server calls it FAILED.
        word: the server's word for it.
        error: the server's reason, which it has never been seen to give.
    """

    state: End
    word: str
    error: str = ""


def outcome(run: Mapping[str, Any]) -> Outcome | None:
    """How a run ended, None while it goes on."""
    word = str(run.get("state") or "")
    if word in _GOES_ON:
        return None
    error = str((run.get("error") or {}).get("message") or "")
    if word == "SUCCEEDED":
        return Outcome("succeeded", word)
    if word == "SKIPPED":
        return Outcome("skipped", word)
    if word in ("CANCELED", "CANCELLED") or (word == "FAILED" and _was_terminated(run)):
        return Outcome("cancelled", word, error)
    return Outcome("failed", word, error)


def _was_terminated(run: Mapping[str, Any]) -> bool:
    """CANCELING in its history, and it was not retried after that."""
    words = [str(entry.get("state") or "") for entry in run.get("state_history") or []]
    last_start = max((i for i, word in enumerate(words) if word == "RUNNING"), default=-1)
    return "CANCELING" in words[last_start + 1 :]


def leaves(spec: Mapping[str, Any]) -> list[str]:
    """The tasks of a compiled pipeline that have a container, in the order in which they can run.

    Args:
        spec: a PipelineSpec as JSON, or as the server wraps it with its platform spec.
    """
    inner = spec.get("pipeline_spec") or spec
    found: list[str] = []
    _collect(inner.get("root") or {}, inner.get("components") or {}, found, ())
    return list(dict.fromkeys(found))


def _collect(component: Mapping[str, Any], components: Mapping[str, Any], found: list[str],
             above: tuple[str, ...]) -> None:  # fmt: skip
    tasks: Mapping[str, Any] = (component.get("dag") or {}).get("tasks") or {}
    left = dict(sorted(tasks.items()))
    while left:
        free = [
            n for n, task in left.items() if not set(task.get("dependentTasks", [])) & set(left)
        ]
        for name in free or list(left):  # a circle is the compiler's to refuse
            task = left.pop(name)
            reference = str((task.get("componentRef") or {}).get("name") or "")
            below = components.get(reference) or {}
            if "executorLabel" in below:
                found.append(name)
            elif reference not in above:
                _collect(below, components, found, (*above, reference))


def steps(run: Mapping[str, Any], names: Sequence[str] = ()) -> list[Step]:
    """A run's steps now.

    Args:
        run: the server's answer.
        names: of the pipeline's tasks in order; without, what looks like a task in the answer.
    """
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    unplaced = set()
    details = (run.get("run_details") or {}).get("task_details") or []
    for row in details:
        name = str(row.get("display_name") or "")
        rows[name].append(row)
        if name.startswith("executor(") and row.get("state") == "PENDING":
            unplaced.add(row.get("start_time"))
    failed_nodes = _failed_nodes(details)
    end = outcome(run)
    known = names or [
        name.removesuffix("-driver")
        for name in rows
        if name.endswith("-driver") and name.removesuffix("-driver") not in _UNKNOWN_DAGS
    ]
    return [_step(name, rows, unplaced, failed_nodes, end) for name in known]


def _step(name: str, rows: Mapping[str, list[Mapping[str, Any]]], unplaced: set[Any],
          failed_nodes: Mapping[str, tuple[str, ...]], end: Outcome | None) -> Step:  # fmt: skip
    own, drivers = rows.get(name, []), rows.get(f"{name}-driver", [])
    states = {_row_state(row) for row in own}
    nodes: tuple[str, ...] = ()
    if "failed" in states:
        state: State = "failed"
        ends = {str(row.get("end_time")) for row in own if _row_state(row) == "failed"}
        nodes = tuple(node for end in sorted(ends) for node in failed_nodes.get(end, ()))
    elif any(row.get("state") == "FAILED" for row in drivers):
        state = "failed"
        nodes = tuple(_children(row)[-1] for row in drivers if _children(row))
    elif "running" in states:
        waits = any(row.get("start_time") in unplaced for row in own)
        state = "waiting" if waits else "running"
    elif states:
        state = "succeeded" if "succeeded" in states else next(iter(states))
    else:
        state = "starting" if drivers else "pending"
    if end and end.state == "cancelled" and state == "failed":
        state = "stopped"  # a terminated run's steps end as failed ones do
    if end and state not in _ENDED:
        state = "stopped" if own else "skipped"
    return Step(name, state, _seconds(own) if state in _ENDED else None, nodes)


def _row_state(row: Mapping[str, Any]) -> State:
    match row.get("state") or "":
        case "SUCCEEDED":
            return "succeeded"
        case "FAILED":
            return "failed"
        case "RUNNING" | "CANCELING":
            return "running"
        case "CANCELED":
            return "stopped"
        case "SKIPPED":
            return "skipped"
        case "" if row.get("end_time") not in (None, *_NO_TIME):
            return "skipped"  # what was never to run has an end and no state
        case _:
            return "pending"


def _failed_nodes(details: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """By end time, since nothing else links a task with its executor: the failed pods' node ids."""
    found: dict[str, tuple[str, ...]] = {}
    for row in details:
        if row.get("display_name") == "executor" and row.get("state") == "FAILED":
            end = str(row.get("end_time"))
            found[end] = (*found.get(end, ()), *_children(row)[-1:])
    return found


def _children(row: Mapping[str, Any]) -> list[str]:
    return [str(child["pod_name"]) for child in row.get("child_tasks") or [] if "pod_name" in child]


def _seconds(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """From the first start to the last end of what has ended."""
    spans = [
        (datetime.fromisoformat(row["start_time"]), datetime.fromisoformat(row["end_time"]))
        for row in rows
        if row.get("start_time") not in (None, *_NO_TIME)
        and row.get("end_time") not in (None, *_NO_TIME)
    ]
    if not spans:
        return None
    return (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds()
