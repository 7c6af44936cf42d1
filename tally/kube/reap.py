"""Gangs whose run has ended, found and removed: a Job outlives the run that made it.

So do pods that wait for a meter that is no more: the finalizer is taken off them here.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tally.kube import ended, finalizer, workflows
from tally.kube.cluster import Cluster
from tally.kube.former import already_gone, let_go
from tally.kube.manifests import FINALIZER, GANG, KFP_RUN, RUN
from tally.kube.template import Object

_METER_SECONDS = 5.0  # a meter that is there has taken its finalizer off by then
_TERMINATING_SECONDS = 15.0
_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Gang:
    """A gang's Job, its uid, and its run."""

    job: str
    uid: str
    run: ended.Run

    def __str__(self) -> str:
        return f"{self.run.namespace}/{self.job} of run {self.run.id}"


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
    for gang, why in _orphans(cluster, namespace):
        if not dry_run:
            remove(cluster, gang)
        lines.append(f"{'would remove' if dry_run else 'removed'} {gang}: {why}")
    for pod in _held(cluster, path) if dry_run else _until_taken(cluster, path):
        if not dry_run:
            let_go(cluster, pod)
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


def gangs(cluster: Cluster, namespace: str | None = None) -> list[Gang]:
    """The gangs whose Job is there and is not being deleted, by namespace and name.

    Raises:
        Refused: the cluster refuses it.
    """
    base = f"apis/batch/v1/namespaces/{namespace}/jobs" if namespace else "apis/batch/v1/jobs"
    jobs = cluster.request("GET", base, query={"labelSelector": f"{GANG},{RUN}"})["items"]
    found = [_gang(j["metadata"]) for j in jobs if not j["metadata"].get("deletionTimestamp")]
    return sorted(found, key=lambda gang: (gang.run.namespace, gang.job))


def remove(cluster: Cluster, gang: Gang) -> None:
    """Delete a gang's Job, and with it all that is the gang's; nothing where another has.

    A retried run makes its gang anew under the same name: only the one that was seen goes.

    Raises:
        Refused: the cluster refuses it.
    """
    path = f"apis/batch/v1/namespaces/{gang.run.namespace}/jobs/{gang.job}"
    body = {"propagationPolicy": "Background", "preconditions": {"uid": gang.uid}}
    with already_gone():
        cluster.request("DELETE", path, body)


def _gang(meta: Object) -> Gang:
    labels, owners = meta["labels"], meta.get("ownerReferences") or []
    workflow = next((o["name"] for o in owners if o["kind"] == "Workflow"), "")
    run = ended.Run(meta["namespace"], labels.get(KFP_RUN, labels[RUN]), workflow)
    return Gang(meta["name"], meta["uid"], run)


def _orphans(cluster: Cluster, namespace: str | None) -> Iterator[tuple[Gang, str]]:
    """The gangs whose run has ended, and how that is known."""
    found = gangs(cluster, namespace)
    argo = bool(found) and workflows.has_workflows(cluster)
    for gang in found:
        if verdict := ended.verdict(workflows.look(cluster, gang.run, argo=argo)):
            yield gang, verdict.why
