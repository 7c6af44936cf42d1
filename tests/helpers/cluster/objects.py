"""Objects of a cluster for the tests: making, finding, waiting."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from helpers import TESTS
from tally import __version__
from tally.kube.cluster import Cluster, Refused
from tally.kube.manifests import GANG

PROJECT = TESTS.parent
IMAGE = os.environ.get("TEST_IMAGE") or f"localhost/tally:{__version__}"

# In place of the worker. SIGTERM ends it with 143: who ends with 0 is not replaced.
STAND_IN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
exec(os.environ.get("DO", ""))
while True: signal.pause()
"""

_PATHS = {
    "Namespace": "api/v1/namespaces",
    "Node": "api/v1/nodes",
    "PersistentVolume": "api/v1/persistentvolumes",
    "PersistentVolumeClaim": "api/v1/{}/persistentvolumeclaims",
    "Pod": "api/v1/{}/pods",
    "ResourceQuota": "api/v1/{}/resourcequotas",
    "ServiceAccount": "api/v1/{}/serviceaccounts",
    "Role": "apis/rbac.authorization.k8s.io/v1/{}/roles",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/{}/rolebindings",
    "Job": "apis/batch/v1/{}/jobs",
    "Secret": "api/v1/{}/secrets",
    "Service": "api/v1/{}/services",
    "NetworkPolicy": "apis/networking.k8s.io/v1/{}/networkpolicies",
    "Event": "api/v1/{}/events",
}


def path_of(kind: str, namespace: str = "") -> str:
    return _PATHS[kind].format(f"namespaces/{namespace}")


def apply(cluster: Cluster, item: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    return cluster.request("POST", path_of(item["kind"], namespace), item)


def every(cluster: Cluster, kind: str, namespace: str, selector: str = GANG) -> list[Any]:
    query = {"labelSelector": selector}
    return list(cluster.request("GET", path_of(kind, namespace), query=query)["items"])


def pod_of(cluster: Cluster, namespace: str, uid: str) -> dict[str, Any]:
    (pod,) = (p for p in every(cluster, "Pod", namespace) if p["metadata"]["uid"] == uid)
    return dict(pod)


def log_of(cluster: Cluster, namespace: str, pod: str) -> str:
    """The pod's log as text."""
    path = f"{path_of('Pod', namespace)}/{pod}/log"
    with cluster._send("GET", path, None, None, (5, 20)) as response:
        return str(response.data.decode())


def delete(cluster: Cluster, kind: str, name: str, namespace: str = "") -> None:
    try:
        body = {"gracePeriodSeconds": 0} if kind in ("Pod", "Node") else None
        cluster.request("DELETE", f"{path_of(kind, namespace)}/{name}", body)
    except Refused as error:
        if error.status != 404:
            raise


@contextlib.contextmanager
def labelled_nodes(cluster: Cluster, labels: Mapping[str, str]) -> Iterator[None]:
    """Every real node has these labels as well; taken away again."""
    nodes = [
        node["metadata"]["name"]
        for node in cluster.request("GET", "api/v1/nodes")["items"]
        if "tally.dev/fake" not in node["metadata"]["labels"]
    ]

    def label(wanted: Mapping[str, str | None]) -> None:
        for node in nodes:
            cluster.request("PATCH", f"api/v1/nodes/{node}", {"metadata": {"labels": wanted}})

    label(labels)
    try:
        yield
    finally:
        label(dict.fromkeys(labels))


def until_true(is_so: Callable[[], Any], seconds: float) -> Any:
    """What is_so returns once that is true."""
    deadline = time.monotonic() + seconds
    while not (answer := is_so()):
        assert time.monotonic() < deadline, f"not so within {seconds} s: {is_so}"
        time.sleep(0.1)
    return answer


def kill_from_the_node(pod: dict[str, Any]) -> bool:
    """SIGKILL the main process of a pod, as the kernel would; False where the node is elsewhere."""
    import signal

    uid = pod["metadata"]["uid"]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                cgroup = (entry / "cgroup").read_text()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if uid in cgroup and not command.startswith((b"/pause", b"/usr/bin/containerd")):
                found.append(int(entry.name))
    for number in sorted(found)[:1]:
        os.kill(number, signal.SIGKILL)
    return bool(found)
