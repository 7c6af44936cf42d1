"""Argo's kind of object in the test cluster, for as long as a test needs it; there is no Argo."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.cluster.metering import OWN
from helpers.cluster.objects import until_true
from tally.kube.cluster import Cluster, Refused

_CRDS = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_NAME = "workflows.argoproj.io"
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_DEFINITION: dict[str, Any] = {
    "metadata": {"name": _NAME},
    "spec": {
        "group": "argoproj.io",
        "scope": "Namespaced",
        "names": {"plural": "workflows", "singular": "workflow", "kind": "Workflow"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": _ANYTHING},
            }
        ],
    },
}


class Workflows:
    """Those of a namespace, whose state the test says."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self.path = f"apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows"

    def make(self, name: str, run_id: str) -> dict[str, Any]:
        """One that runs; a reference to it for those that it owns."""
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": name, "labels": {"pipeline/runid": run_id}},
            "spec": {},
            "status": {"phase": "Running"},
        }
        made = self._cluster.request("POST", self.path, body)
        owner = {key: body[key] for key in ("apiVersion", "kind")}
        return {**owner, "name": name, "uid": made["metadata"]["uid"], "controller": False}

    def change(self, name: str, **changes: Any) -> None:
        self._cluster.request("PATCH", f"{self.path}/{name}", changes)


@contextlib.contextmanager
def defined(cluster: Cluster, namespace: str) -> Iterator[Workflows]:
    """The kind is there inside; one test at a time, since who made it takes it away."""
    folder = OWN if OWN.exists() else Path("/tmp")
    with (folder / "workflows.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        query = {"fieldSelector": f"metadata.name={_NAME}"}
        there = cluster.request("GET", _CRDS, query=query)["items"]
        if not there:
            cluster.request("POST", _CRDS, _DEFINITION)
        try:
            made = Workflows(cluster, namespace)
            until_true(lambda: _answers(cluster, made.path), 20)
            yield made
        finally:
            if not there:
                cluster.request("DELETE", f"{_CRDS}/{_NAME}")
                until_true(lambda: not cluster.request("GET", _CRDS, query=query)["items"], 20)


def _answers(cluster: Cluster, path: str) -> bool:
    try:
        cluster.request("GET", path)
    except Refused:
        return False
    return True
