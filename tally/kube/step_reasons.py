"""Pure: why steps of a Kubeflow run wait or fail, from its pods and its Workflow.

Kubeflow's API never carries a reason. A pod's conditions do, and where there is no pod (a quota, an
unknown service account) the message of its node in the Workflow.
"""

import base64
import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tally.kube.manifests import GANG
from tally.kube.podnames import is_driver, pod_names
from tally.kube.reasons import change
from tally.kube.template import Object
from tally.scaling.rightsizing import after_oom_bytes
from tally.training.gang import WorkerChange

_UNFINISHED = ("Pending", "Error", "Failed")
# what Argo says of a node whose reason is another node's, its pod's log's, or none
_NO_REASON = re.compile(
    r"child '|Error \(exit code \d+\)$|No more retries left|PodInitializing$|ContainerCreating$"
)
_WORDS = 400


def step_reasons(pods: Sequence[Object], workflows: Sequence[Object] = ()) -> dict[str, str]:
    """By step, what keeps it waiting or ended it; a step that does well is not in it.

    Args:
        pods: those with the run's label, drivers and gangs among them.
        workflows: those with the run's label.
    """
    found: dict[str, str] = {}
    for workflow in workflows:
        found.update(_of_nodes(workflow))
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        names = pod_names(pod)
        if reason := _of_pod(pod):
            who = "driver: " if is_driver(pod) else ""
            if GANG in (pod["metadata"].get("labels") or {}):
                who = f"worker {names.worker}: "
            found[names.step] = f"{who}{reason}"[:_WORDS]
    return found


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
        found[step] = f"{'driver: ' if driver else ''}{message}"[:_WORDS]
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
