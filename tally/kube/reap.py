"""Gangs whose run has ended, found and removed: a Job outlives the run that made it.

So do pods that wait for a meter that is no more: the finalizer is taken off them here.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tally.kube import finalizer
from tally.kube.cluster import Cluster, Refused
from tally.kube.manifests import CONDUCTOR, FINALIZER, GANG, KFP_RUN, RUN
from tally.kube.template import Object

_WORKFLOWS = "apis/argoproj.io/v1alpha1"
_ENDED_PHASES = ("Succeeded", "Failed", "Error")
_METER_SECONDS = 5.0  # a meter that is there has taken its finalizer off by then
_TERMINATING_SECONDS = 15.0
_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Orphan:
    """A gang's Job whose run has ended, and how that is known."""

    namespace: str
    job: str
    run: str
    why: str


def reap(cluster: Cluster, namespace: str | None = None, *, dry_run: bool = False) -> list[str]:
    """Remove the gangs whose run has ended.

    Args:
        cluster: as somebody who may list and delete Jobs, list Workflows, list and patch pods.
        namespace: None is all of them.
        dry_run: only say which.

    Returns:
        One line a gang that was (or would be) removed, and a pod that was held by its finalizer.

    Raises:
        RunError: the cluster refuses it.
    """
    lines = []
    path = f"api/v1/namespaces/{namespace}/pods" if namespace else "api/v1/pods"
    for orphan in orphans(cluster, namespace):
        if not dry_run:
            _remove(cluster, orphan)
        verb = "would remove" if dry_run else "removed"
        lines.append(f"{verb} {orphan.namespace}/{orphan.job} of run {orphan.run}: {orphan.why}")
    for pod in _held(cluster, path) if dry_run else _until_taken(cluster, path):
        if not dry_run:
            finalizer.take_off(cluster, pod)
        verb = "would let go" if dry_run else "let go"
        where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        lines.append(f"{verb} {where}: no meter took {FINALIZER} off it")
    return lines


def _until_taken(cluster: Cluster, path: str) -> list[Object]:
    """The pods that no meter lets go, though it has had the time for it."""
    since: dict[str, float] = {}
    deadline = time.monotonic() + _TERMINATING_SECONDS
    while carried := _carried_without_job(cluster, path):
        now = time.monotonic()
        held = [pod for pod in carried if finalizer.is_over(pod)]
        for pod in held:
            since.setdefault(pod["metadata"]["uid"], now)
        left = [pod for pod in held if now - since[pod["metadata"]["uid"]] > _METER_SECONDS]
        if len(left) == len(carried) or now > deadline:
            return left
        time.sleep(_POLL_SECONDS)
    return []


def _held(cluster: Cluster, path: str) -> list[Object]:
    """The pods that wait for a meter now."""
    return [pod for pod in _carried_without_job(cluster, path) if finalizer.is_over(pod)]


def _carried_without_job(cluster: Cluster, path: str) -> list[Object]:
    """The gangs' pods with the finalizer whose Job is no more."""
    pods = cluster.request("GET", path, query={"labelSelector": GANG})["items"]
    carried = [pod for pod in pods if finalizer.is_carried(pod)]
    if not carried:
        return []
    jobs = path.replace("api/v1/", "apis/batch/v1/").removesuffix("pods") + "jobs"
    found = cluster.request("GET", jobs, query={"labelSelector": GANG})["items"]
    # one that is being deleted may wait for just these pods
    there = {j["metadata"]["uid"] for j in found if not j["metadata"].get("deletionTimestamp")}
    return [
        pod
        for pod in carried
        if not any(o["uid"] in there for o in pod["metadata"].get("ownerReferences") or [])
    ]


def orphans(cluster: Cluster, namespace: str | None = None) -> list[Orphan]:
    """The gangs whose run has ended, by namespace and name.

    Raises:
        RunError: the cluster refuses it.
    """
    base = f"apis/batch/v1/namespaces/{namespace}/jobs" if namespace else "apis/batch/v1/jobs"
    jobs = cluster.request("GET", base, query={"labelSelector": GANG})["items"]
    argo = bool(jobs) and _has_workflows(cluster)
    found = []
    for job in jobs:
        meta = job["metadata"]
        if not meta.get("deletionTimestamp") and (why := _ended(cluster, meta, argo)):
            found.append(Orphan(meta["namespace"], meta["name"], meta["labels"][RUN], why))
    return sorted(found, key=lambda orphan: (orphan.namespace, orphan.job))


def _ended(cluster: Cluster, meta: Object, argo: bool) -> str:
    """Why this Job's run has surely ended; "" where it may go on."""
    namespace, labels = meta["namespace"], meta["labels"]
    selector = f"{KFP_RUN}={labels.get(KFP_RUN, labels[RUN])}"
    if argo:
        path = f"{_WORKFLOWS}/namespaces/{namespace}/workflows"
        workflows = cluster.request("GET", path, query={"labelSelector": selector})["items"]
        phases = [(w.get("status") or {}).get("phase", "") for w in workflows]
        if phases:
            # a run that goes on has or gets a conductor, which ends what an earlier one left
            over = all(phase in _ENDED_PHASES for phase in phases)
            return f"its Workflow is {phases[0]}" if over else ""
    path = f"api/v1/namespaces/{namespace}/pods"
    query = {"labelSelector": f"{selector},{CONDUCTOR}"}
    conductors = cluster.request("GET", path, query=query)["items"]
    return conductors_ended(conductors)


def conductors_ended(conductors: list[Object]) -> str:
    """Why none of these pods conducts any more; "" where one does."""
    states: list[Mapping[str, str]] = [pod.get("status") or {} for pod in conductors]
    if any(status.get("phase") not in ("Succeeded", "Failed") for status in states):
        return ""
    return f"its conductor has {states[0]['phase'].lower()}" if states else "it has no conductor"


def _has_workflows(cluster: Cluster) -> bool:
    try:
        kinds = cluster.request("GET", _WORKFLOWS)
    except Refused as error:
        if error.status == 404:
            return False
        raise
    return any(kind.get("name") == "workflows" for kind in kinds.get("resources", []))


def _remove(cluster: Cluster, orphan: Orphan) -> None:
    path = f"apis/batch/v1/namespaces/{orphan.namespace}/jobs/{orphan.job}"
    try:
        cluster.request("DELETE", path, {"propagationPolicy": "Background"})
    except Refused as error:
        if error.status != 404:
            raise
