"""What an earlier attempt left of a gang, removed before the next one begins."""

import contextlib
import time
from collections.abc import Iterator

from tally.errors import RunError
from tally.kube import finalizer
from tally.kube.cluster import Cluster, Refused
from tally.kube.manifests import FINALIZER
from tally.kube.template import Object

_GONE_SECONDS = 60.0  # for all that there was to be gone
_INSIST_SECONDS = 20.0  # after which pods are forgotten by force: their node or the meter is lost
_POLL_SECONDS = 0.2
_TRIES = 3


def remove_former(cluster: Cluster, jobs: str, pods: str, selector: str) -> None:
    """Delete a gang's Jobs, and wait until they and their pods are gone.

    Args:
        cluster: where it runs.
        jobs, pods: paths of the namespace's.
        selector: of the gang.

    Raises:
        RunError: the cluster refuses it, or something does not go.
    """
    query = {"labelSelector": selector}
    cluster.request("DELETE", jobs, {"propagationPolicy": "Foreground"}, query=query)
    began, insisted = time.monotonic(), False
    while True:
        left_jobs = cluster.request("GET", jobs, query=query)["items"]
        left_pods = cluster.request("GET", pods, query=query)["items"]
        if not left_jobs and not left_pods:
            return
        waited = time.monotonic() - began
        if waited > _GONE_SECONDS:
            left = ", ".join(thing["metadata"]["name"] for thing in [*left_jobs, *left_pods])
            raise RunError(
                f"Kubernetes: expected the gang of the attempt before to be gone after "
                f"{_GONE_SECONDS:.0f} s, got {left}; delete it by hand, then `make resume`"
            )
        if waited > _INSIST_SECONDS:
            if not insisted:
                insisted = True
                for pod in left_pods:
                    delete_pod(cluster, pods, pod, seconds=0)
            for pod in left_pods:  # a meter that is there has taken it off by now
                if finalizer.is_carried(pod):
                    let_go(cluster, pod)
        time.sleep(_POLL_SECONDS)


def delete_pod(cluster: Cluster, pods: str, pod: Object, *, seconds: int) -> None:
    """Delete just this pod, where it is still there.

    Args:
        cluster: where it runs.
        pods: path of the namespace's.
        pod: as it looked last.
        seconds: that its processes have; with 0 the cluster forgets it at once.
    """
    meta = pod["metadata"]
    body = {"gracePeriodSeconds": seconds, "preconditions": {"uid": meta["uid"]}}
    with already_gone():
        cluster.request("DELETE", f"{pods}/{meta['name']}", body)


def let_go(cluster: Cluster, pod: Object) -> None:
    """Take the finalizer off without a meter; nothing where it is off or the pod is gone.

    Args:
        cluster: as somebody who may get and patch pods.
        pod: as it looked last.

    Raises:
        Refused: the cluster refuses it.
    """
    meta = pod["metadata"]
    path = f"api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
    for left in reversed(range(_TRIES)):
        try:
            now = cluster.request("GET", path)
            if now["metadata"]["uid"] != meta["uid"] or not finalizer.is_carried(now):
                return
            # a merge patch replaces the whole list: only if the pod is still what was read
            others = [name for name in now["metadata"]["finalizers"] if name != FINALIZER]
            same = {key: now["metadata"][key] for key in ("uid", "resourceVersion")}
            cluster.request("PATCH", path, {"metadata": {**same, "finalizers": others}})
            return
        except Refused as error:
            if error.status == 404:
                return
            if error.status != 409 or not left:
                raise


@contextlib.contextmanager
def already_gone() -> Iterator[None]:
    """What is deleted inside may be gone."""
    try:
        yield
    except Refused as error:
        if error.status not in (404, 409):  # 409: its name is another life's by now
            raise
