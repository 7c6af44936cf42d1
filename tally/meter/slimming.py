"""Pods and nodes without what the meter does not need of them, so that thousands fit. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from tally.kube.template import Object

_LONGEST_ANNOTATION = 1024
_HELD = ("allocatedResources", "resources")
_OF_STATUS = ("phase", "conditions", "startTime", "podIP", *_HELD)
_OF_CONTAINER_STATUS = ("name", "state", "lastState", *_HELD)


def pod(pod: Object) -> Object:
    """A pod without what no row needs: a KFP pod has 30 kB, most of it Argo's own environment."""
    meta, spec = pod["metadata"], pod["spec"]
    annotations = meta.get("annotations") or {}
    short = {k: v for k, v in annotations.items() if len(v) <= _LONGEST_ANNOTATION}
    dropped = ("managedFields", "annotations")
    return {
        "metadata": {
            **{key: value for key, value in meta.items() if key not in dropped},
            "annotations": short,
        },
        "spec": {
            **_only(spec, ("nodeName", "restartPolicy", "resources", "overhead")),
            "containers": [_container(one) for one in spec.get("containers") or []],
            "initContainers": [_container(one) for one in spec.get("initContainers") or []],
        },
        "status": {
            **_only(pod.get("status") or {}, _OF_STATUS),
            **{
                key: [_only(one, _OF_CONTAINER_STATUS) for one in statuses]
                for key in ("containerStatuses", "initContainerStatuses")
                if (statuses := (pod.get("status") or {}).get(key))
            },
        },
    }


def _container(container: Object) -> Object:
    # the worker's name is among a gang's
    named = [one for one in container.get("env") or [] if one["name"] == "TALLY_WORKER"]
    kept = ("name", "resources", "restartPolicy", "restartPolicyRules")
    return {**_only(container, kept), "env": named}


def node(node: Object) -> Object:
    """A node without what no life needs."""
    meta, status = node["metadata"], node.get("status") or {}
    return {
        "metadata": _only(meta, ("name", "uid", "labels", "creationTimestamp")),
        "status": {
            **_only(status, ("capacity", "allocatable", "addresses", "daemonEndpoints")),
            "nodeInfo": _only(status.get("nodeInfo") or {}, ("systemUUID",)),
        },
    }


def stub(pod: Object) -> Object:
    """What is left to know of a pod whose rows change no more."""
    names = ("name", "namespace", "uid", "creationTimestamp", "finalizers")
    return {"metadata": _only(pod["metadata"], names), "spec": {}, "status": {}}


def _only(thing: Mapping[str, Any], names: Iterable[str]) -> Object:
    return {name: thing[name] for name in names if name in thing}
