"""Whether a run on the cluster has ended: its Workflow says so, or that nobody conducts it. Pure.

Kubeflow ends a run that was terminated as Failed, by a time limit of 0; Argo's own command by
`shutdown`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tally.costing.runs import State
from tally.kube.quantities import microseconds
from tally.kube.template import Object

WORKFLOW_LABEL = "workflows.argoproj.io/workflow"  # on Argo's pods: their Workflow's name
_STATES: dict[str, State] = {"Succeeded": "succeeded", "Failed": "failed", "Error": "failed"}


@dataclass(frozen=True)
class Run:
    """A run as labels and owners name it.

    Attributes:
        namespace: of its pods.
        id: as the label pipeline/runid has it.
        workflow: its Workflow's name, "" where nothing tells it.
    """

    namespace: str
    id: str
    workflow: str = ""


@dataclass(frozen=True)
class Seen:
    """What the cluster shows of a run.

    Attributes:
        workflows: all that it has.
        is_gone: there are Workflows in this cluster, and the one of its name is none of them.
        conductors: its pods that conduct, or did; None where nobody has looked.
    """

    workflows: Sequence[Object] = ()
    is_gone: bool = False
    conductors: Sequence[Object] | None = None


@dataclass(frozen=True)
class Verdict:
    """That a run has ended, or is being ended.

    Attributes:
        why: in words, after "run R: ".
        state: how; None where only its pods can tell.
        is_sure: its Workflow has ended. A conductor that is not there may be about to come.
        is_ending: its Workflow was told to end: a gang of it is nobody's any more, while the last
            of its steps may still run.
        created_microseconds, ended_microseconds: of its Workflow, UTC; None where that is gone.
    """

    why: str
    state: State | None = None
    is_sure: bool = True
    is_ending: bool = False
    created_microseconds: int | None = None
    ended_microseconds: int | None = None


def verdict(seen: Seen) -> Verdict | None:
    """That the run has ended, by what was seen; None where it may go on."""
    if seen.workflows:
        ends = [_end(workflow) for workflow in seen.workflows]
        # a run that goes on has or gets a conductor, which ends what an earlier one left
        if not all(ends):
            return None
        return next((end for end in ends if end and end.is_ending), ends[0])
    if seen.is_gone:
        return Verdict("its Workflow is gone")
    why = "" if seen.conductors is None else conductors_ended(seen.conductors)
    return Verdict(why, is_sure=False) if why else None


def conductors_ended(conductors: Sequence[Object]) -> str:
    """Why none of these pods conducts any more; "" where one does."""
    phases = [(pod.get("status") or {}).get("phase", "") for pod in conductors]
    if any(phase not in ("Succeeded", "Failed") for phase in phases):
        return ""
    return f"its conductor has {phases[0].lower()}" if phases else "it has no conductor"


def _end(workflow: Object) -> Verdict | None:
    spec, status = workflow.get("spec") or {}, workflow.get("status") or {}
    phase = status.get("phase", "")
    is_told = bool(spec.get("shutdown")) or spec.get("activeDeadlineSeconds") == 0
    if phase not in _STATES:
        why = "its Workflow was told to end"
        return Verdict(why, is_sure=False, is_ending=True) if is_told else None
    state = _STATES[phase]
    told: State = "cancelled" if state == "failed" and is_told else state
    return Verdict(
        f"its Workflow is {phase}" + (", terminated" if told == "cancelled" else ""),
        told,
        created_microseconds=microseconds(workflow["metadata"].get("creationTimestamp")),
        ended_microseconds=microseconds(status.get("finishedAt")),
    )
