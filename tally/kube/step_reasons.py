"""Pure: why steps of a Kubeflow run wait or fail, from its pods and its Workflow.

Kubeflow's API never carries a reason. A pod's conditions do, and where there is no pod (a quota, an
unknown service account) the message of its node in the Workflow.
"""

import base64
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tally.gang.gang import WorkerChange
from tally.kube.manifests import COORDINATOR_LOST, GANG
from tally.kube.podnames import is_driver, pod_names
from tally.kube.reasons import change
from tally.kube.template import Object
from tally.oneline import one_line
from tally.scaling.rightsizing import after_oom_bytes

_UNFINISHED = ("Pending", "Error", "Failed")
# what Argo says of a node whose reason is another node's, its pod's log's, or none
_NO_REASON = re.compile(
    r"child '|Error \(exit code \d+\)$|No more retries left|PodInitializing$|ContainerCreating$"
)
_WORDS = 400
_OF_ITSELF = ("", "exit", "signal")  # of a pod that is being deleted: it was asked to go


def step_reasons(pods: Sequence[Object], workflows: Sequence[Object] = ()) -> dict[str, str]:
    """By step, what keeps it waiting or ended it; a step that does well is not in it.

    Args:
        pods: those with the run's label, drivers and gangs among them.
        workflows: those with the run's label.
    """
    found: dict[str, str] = {}
    for workflow in workflows:
        found.update(_of_nodes(workflow))
    own: dict[str, str] = {}
    gangs: dict[str, list[Object]] = defaultdict(list)
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        step = pod_names(pod).step
        if GANG in (pod["metadata"].get("labels") or {}):
            gangs[step].append(pod)
        elif reason := _of_pod(pod):
            own[step] = f"{'driver: ' if is_driver(pod) else ''}{reason}"
    for step in {**own, **gangs}:
        if told := _first(own.get(step, ""), _of_gang(gangs.get(step, []))):
            found[step] = one_line(told, _WORDS)
    return found


def _first(own: str, gang: str) -> str:
    """Of a conductor's reason and its gang's. What ended the conductor ends its workers; where it
    ended by itself it says why in its log, and it may well be what became of them."""
    if own and gang and own.startswith("exit code"):
        return f"{own}, after {gang}"
    return own or gang


def _of_gang(pods: Sequence[Object]) -> str:
    """Why a gang's workers wait or failed: what came first. That their conductor was gone counts
    only where nothing else does."""
    ended, waiting, orphaned = [], "", ""
    for pod in pods:
        if not (reason := _of_pod(pod)):
            continue
        worker, life = pod_names(pod).worker, end_of(pod)
        if life.exit_code == COORDINATOR_LOST:
            orphaned = "the conductor's pod was gone"
        elif life.state != "ended":
            waiting = f"worker {worker}: {reason}"
        elif life.cause not in _OF_ITSELF or not pod["metadata"].get("deletionTimestamp"):
            ended.append((_finished(pod), f"worker {worker}: {reason}"))
    return min(ended)[1] if ended else waiting or orphaned


def _finished(pod: Object) -> str:
    """When its first container ended, as Kubernetes writes times; late where none says so."""
    states = (one.get("state") or {} for one in pod["status"].get("containerStatuses") or [])
    told = [(state.get("terminated") or {}).get("finishedAt") for state in states]
    return min(filter(None, told), default="~")


def _of_pod(pod: Object) -> str:
    """Why it waits or failed, "" where it does neither."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return ""
    first = end_of(pod)
    if first.state == "ended" and first.exit_code == 0 and first.cause in ("", "exit"):
        return ""
    if first.cause == "oom" and GANG not in (pod["metadata"].get("labels") or {}):
        limit = first.memory_limit_bytes
        more = after_oom_bytes(limit, limit) >> 20
        return f"{first.reason}; where a meter is, the next submit asks for {more}Mi"
    return "" if first.state == "started" else " ".join(first.reason.split())


def end_of(pod: Object) -> WorkerChange:
    """What became of the pod of a step: of the container that tells most."""
    return change(_as_worker(pod, _container(pod)), 0)


def _container(pod: Object) -> str:
    """The container that tells most: one that waits for its image or ended badly, else main."""
    status = pod.get("status") or {}
    statuses = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    for wanted in (_main(statuses), statuses):
        for one in wanted:
            state = one.get("state") or {}
            waits = (state.get("waiting") or {}).get("reason")
            if (state.get("terminated") or {}).get("exitCode") or waits not in (
                None, "PodInitializing", "ContainerCreating",
            ):  # fmt: skip
                return str(one["name"])
    names = [str(one["name"]) for one in _main(statuses)]
    return names[0] if names else "main"


def _main(statuses: Iterable[Object]) -> list[Object]:
    return [one for one in statuses if one.get("name") in ("main", "worker")]


def _as_worker(pod: Object, container: str) -> Object:
    """The pod with this container under the name that reasons.change looks at."""

    def renamed(rows: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
        return [{**row, "name": "worker"} for row in rows or [] if row.get("name") == container]

    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    kinds = ("containers", "initContainers")
    states = ("containerStatuses", "initContainerStatuses")
    return {
        **pod,
        "spec": {**spec, "containers": [row for kind in kinds for row in renamed(spec.get(kind))]},
        "status": {
            **status,
            "containerStatuses": [row for kind in states for row in renamed(status.get(kind))],
        },
    }


def _of_nodes(workflow: Object) -> dict[str, str]:
    name = str(workflow["metadata"]["name"])
    found = {}
    nodes = sorted(_nodes(workflow).values(), key=lambda node: str(node.get("startedAt")))
    for node in nodes:
        message = " ".join(str(node.get("message") or "").split())
        if (
            node.get("type") != "Pod"
            or node.get("phase") not in _UNFINISHED
            or not message
            or _NO_REASON.match(message)
        ):
            continue
        driver = re.sub(r"\(\d+\)$", "", str(node.get("displayName") or "")).endswith("-driver")
        step = pod_names(_pod_of(name, str(node.get("name") or ""), driver=driver)).step
        found[step] = one_line(f"{'driver: ' if driver else ''}{message}", _WORDS)
    return found


def _pod_of(workflow: str, node: str, *, driver: bool) -> Object:
    """As much of a node's pod as names its step."""
    return {
        "metadata": {
            "name": "",
            "labels": {"workflows.argoproj.io/workflow": workflow},
            "annotations": {
                "workflows.argoproj.io/node-name": node,
                "pipelines.kubeflow.org/runtime-role": "driver" if driver else "launcher",
            },
        }
    }


def _nodes(workflow: Object) -> Mapping[str, Mapping[str, Any]]:
    """Argo's nodes; a large Workflow has them compressed."""
    status = workflow.get("status") or {}
    if packed := status.get("compressedNodes"):
        try:
            return dict(json.loads(gzip.decompress(base64.b64decode(packed))))
        except (ValueError, OSError, EOFError):
            return {}
    return dict(status.get("nodes") or {})
