"""The finalizer of a gang's pods: they stay until the meter has kept when they ended.

A pod of a Job is deleted with it, and with it goes the only record of when it started and ended.
With the finalizer a pod that dies while the meter is away is still there when it is back. A pod
that only the finalizer holds uses nothing: no container, no place on a node, none of a quota.

Pure.
"""

from tally.kube.manifests import FINALIZER
from tally.kube.template import Object


def is_carried(pod: Object) -> bool:
    """Whether the pod has the finalizer."""
    return FINALIZER in (pod["metadata"].get("finalizers") or [])


def is_let_go(pod: Object) -> bool:
    """Whether the pod would be gone but for finalizers.

    The API server leaves a pod no grace when the kubelet says that its containers have ended, when
    it never was on a node, and when somebody forces it.
    """
    meta = pod["metadata"]
    return bool(meta.get("deletionTimestamp")) and meta.get("deletionGracePeriodSeconds") == 0


def is_over(pod: Object) -> bool:
    """Whether the pod would be gone but for this finalizer alone."""
    return is_let_go(pod) and pod["metadata"].get("finalizers") == [FINALIZER]


def removal(pod: Object) -> list[Object]:
    """A JSON patch that takes it off this very pod, whatever else has changed meanwhile."""
    index = pod["metadata"]["finalizers"].index(FINALIZER)
    path = f"/metadata/finalizers/{index}"
    return [
        {"op": "test", "path": "/metadata/uid", "value": pod["metadata"]["uid"]},
        {"op": "test", "path": path, "value": FINALIZER},
        {"op": "remove", "path": path},
    ]
