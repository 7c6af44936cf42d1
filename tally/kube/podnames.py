"""Whose a pod is: run, pipeline, step, worker and attempt, from its labels and annotations. Pure.

Whoever can start a pod can write them. They are words, cut to a sane length, and never decide who
pays: that is the namespace.
"""

import re
from dataclasses import dataclass

from tally.kube.manifests import GANG, KFP_RUN
from tally.kube.reasons import worker_name
from tally.kube.template import Object

_WORKFLOW = "workflows.argoproj.io/workflow"
_NODE_NAME = "workflows.argoproj.io/node-name"
_NODE_ID = "workflows.argoproj.io/node-id"
_ROLE = "pipelines.kubeflow.org/runtime-role"
_LENGTH = 63  # of a label; annotations are cut to the same
_COUNTERS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")  # of retries, of loops, of Argo's steps
_PARTS_OF_A_TASK = ("executor", "iteration", "iteration-item", "iteration-iterations")
# generateName's five letters have no vowels. A schedule has them too, without a dash, and its runs
# end in a number and a hash
_LETTERS = "[bcdfghjklmnpqrstvwxz2456789]{5}"
_RANDOM = re.compile(rf"(?:-{_LETTERS}|{_LETTERS}-\d+-\d+|-\d+-\d+)$")
_ATTEMPT = re.compile(r"0*([1-9]\d{0,5})")


@dataclass(frozen=True, slots=True)
class PodNames:
    """Whose a pod is; run_id and pipeline are "" where nothing tells them.

    Attributes:
        step: of a pod of no pipeline the name of what owns it, "" where nothing does.
        worker: of a gang its name there; of a KFP pod the number of its Argo node, of a driver with
            "driver-" before it; of any other pod the pod's name.
        attempt: 1 for the first life of the run.
    """

    run_id: str
    pipeline: str
    step: str
    worker: str
    attempt: int


def pod_names(pod: Object) -> PodNames:
    """Whose a pod is, as it says itself."""
    labels = pod["metadata"].get("labels") or {}
    attempt = _ATTEMPT.fullmatch(labels.get("tally.dev/attempt", ""))
    return PodNames(
        run_id=_clean(labels.get(KFP_RUN, "")),
        pipeline=_clean(labels.get("tally.dev/pipeline", "")) or _clean(_pipeline(pod)),
        step=_clean(labels.get("tally.dev/step", "")) or _clean(_step(pod)) or _owner(pod),
        worker=_clean(_worker(pod)),
        attempt=int(attempt[1]) if attempt else 1,
    )


def is_driver(pod: Object) -> bool:
    """Whether it is one that KFP puts before each task, to decide what to start."""
    return _annotation(pod, _ROLE) == "driver"


def _clean(text: str) -> str:
    """Without line ends, control and other invisible characters, and not longer than a label."""
    return "".join(filter(str.isprintable, text))[:_LENGTH].strip()


def _annotation(pod: Object, name: str) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(name, ""))


def _pipeline(pod: Object) -> str:
    """The name of the Workflow without what makes it unique."""
    return _RANDOM.sub("", _workflow(pod))


def _workflow(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(_WORKFLOW, ""))


def _step(pod: Object) -> str:
    """The KFP task of an Argo node: the last part of its name that is a task's.

    KFP compiles a task T into T-driver and T with an executor in it. A loop L becomes L with an
    iteration-driver, and for each round iteration-iterations(0:0) with an iteration-item-driver and
    an iteration-item, in which the tasks of the loop are. An exit task E stands behind T.onExit.

    Source: kubeflow/pipelines, backend/src/v2/compiler/argocompiler/dag.go.
    """
    below = _annotation(pod, _NODE_NAME).removeprefix(_workflow(pod))  # its name can have dots
    _, *parts = _COUNTERS.sub("", below).split(".")
    if is_driver(pod) and parts:
        parts[-1] = parts[-1].removesuffix("-driver")
    while parts and parts[-1] in _PARTS_OF_A_TASK:
        parts.pop()
    return parts[-1] if parts else ""


def _owner(pod: Object) -> str:
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return _clean(str(owner["name"]))
    return ""


def _worker(pod: Object) -> str:
    labels, name = pod["metadata"].get("labels") or {}, str(pod["metadata"]["name"])
    if GANG in labels:
        found = worker_name(pod)
        return name if "?" in found else found  # it only calls itself a gang's
    _, _, number = _annotation(pod, _NODE_ID).rpartition("-")
    if not number.isdecimal():
        return name
    return f"driver-{number}" if is_driver(pod) else number
