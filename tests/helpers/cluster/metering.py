"""A meter as a process, under the account of manifests/base/meter, and pods for it."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from helpers.cluster.objects import IMAGE, PROJECT, apply, delete, path_of, until_true
from helpers.ports import HeldPort
from tally.costing.ledger import open_ledger
from tally.costing.usage import Usage, in_order_of_life
from tally.kube.cluster import Cluster, Refused

OWN = Path(os.environ.get("STATE") or "/var/cache/tally-cluster")  # the cluster of up.sh
KUBELET_CERTIFICATE = OWN / "pki/kubelet.crt"
_RBAC = "apis/rbac.authorization.k8s.io/v1"
MACHINES = """
provider: test
version: "1"
machine_types:
  metered:
    list_price_usd_per_hour: 3.6
    software_usd_per_hour: 0.0
    discount_percent: 0.0
    value_of_hour_usd: 1.0
    source: this test
    date: 2026-11-24
"""

WORK = "import sys, time; b = time.time(); {do}; print(b, time.time(), flush=True)"


def account(cluster: Cluster, namespace: str) -> Iterator[dict[str, Any]]:
    """The meter's own account and rights; a kubeconfig with its token. Taken away again."""
    made = []
    name = f"tally-meter-{namespace}"
    for item in yaml.safe_load_all((PROJECT / "manifests/base/meter/account.yaml").read_text()):
        if item["kind"] == "ServiceAccount":
            apply(cluster, item, namespace)
            continue
        item["metadata"]["name"] = name
        if item["kind"] == "ClusterRoleBinding":
            item["roleRef"]["name"] = name
            item["subjects"][0]["namespace"] = namespace
        path = f"{_RBAC}/{item['kind'].lower()}s"
        cluster.request("POST", path, item)
        made.append(f"{path}/{name}")
    path = f"{path_of('ServiceAccount', namespace)}/tally-meter/token"
    token = cluster.request("POST", path, {"spec": {"expirationSeconds": 7200}})
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for user in config["users"]:
        user["user"] = {"token": token["status"]["token"]}
    yield config
    for path in made:
        cluster.request("DELETE", path)


@dataclass
class MeterProcess:
    """`python -m tally.meter`, started, ended and killed as the test wants.

    Attributes:
        folder: for its files.
        ledger_url: where it writes.
        environment: besides the usual.
    """

    folder: Path
    kubeconfig: Path
    ledger_url: str
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    name: str = "meter"
    _held: HeldPort = field(default_factory=HeldPort)

    @property
    def port(self) -> int:
        return self._held.number

    def start(self) -> None:
        """Start it, and wait until it watches."""
        usual = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "TALLY_LEDGER_URL": self.ledger_url,
            "TALLY_METER_PORT": str(self.port),
            "TALLY_METER_METRICS_OPEN": "1",
            "TALLY_KUBELET_TLS": str(KUBELET_CERTIFICATE)
            if KUBELET_CERTIFICATE.exists()
            else "insecure",
        }
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tally.meter"],
                env={**usual, **self.environment},
                stderr=log,
                stdout=log,
            )
        until_true(lambda: self.health() is not None, 30)
        until_true(lambda: "schema" in (self.health() or {}), 30)

    def health(self) -> dict[str, Any] | None:
        """What /healthz says, with its status; None where nobody answers."""
        assert self.process is None or self.process.poll() is None, self.log()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as said:
                return {"code": said.status, **json.load(said)}
        except urllib.error.HTTPError as error:
            return {"code": error.code, **json.load(error)}
        except OSError:
            return None

    def problems(self) -> str:
        """What is wrong with it, in its own words."""
        return "\n".join((self.health() or {}).get("problems", ["no answer"]))

    def kill(self) -> None:
        """As a node that loses power."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def stop(self, seconds: float = 5.0) -> None:
        """As Kubernetes ends a pod; it has `seconds`."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(seconds)
            self.process = None
            assert code == 0, self.log()

    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text()[-4000:]

    def rows(self, uid: str) -> list[Usage]:
        """What the ledger has of a pod, in order."""
        with open_ledger(self.ledger_url) as ledger:
            return in_order_of_life(ledger.usage_of_pods([uid]))

    def until_closed(self, *uids: str, seconds: float = 30) -> dict[str, list[Usage]]:
        """The rows of these pods once all of them have ended."""

        def closed() -> dict[str, list[Usage]]:
            found = {uid: self.rows(uid) for uid in uids}
            ended = all(
                rows and all(row.end_microseconds is not None for row in rows)
                for rows in found.values()
            )
            return found if ended else {}

        try:
            return dict(until_true(closed, seconds))
        except AssertionError:
            print(self.log(), self.health(), {uid: self.rows(uid) for uid in uids})
            raise


def step_pod(name: str, do: str, **meta: Any) -> dict[str, Any]:
    """A pod as KFP makes that of a step (labels, annotations, its two containers and their init
    container as recorded), whose main container does this."""
    recorded = json.loads((PROJECT / "tests/kube/pods/kfp-executor.json").read_text())
    wanted = recorded["metadata"]
    others = ("workflows.argoproj.io/completed", "pipeline/runid")
    labels = {key: value for key, value in wanted["labels"].items() if key not in others}
    launcher, waiter, main = (
        _container(name, script, cpu)
        for name, script, cpu in (
            ("kfp-launcher", "pass", "50m"),
            ("wait", WAIT, "10m"),
            ("main", WORK.format(do=do), "100m"),
        )
    )
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels | meta.pop("labels", {}),
            "annotations": wanted["annotations"],
            **meta,
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [{"name": "done", "emptyDir": {}}],
            "initContainers": [launcher],
            "containers": [waiter, main],
        },
    }


# Argo's own container ends when main has
WAIT = "import os, time\nwhile not os.path.exists('/done/main'): time.sleep(0.05)"


def _container(name: str, script: str, cpu: str) -> dict[str, Any]:
    if name == "main":
        script += "; open('/done/main', 'w').close()"
    return {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-S", "-c", script],
        "resources": {
            "requests": {"cpu": cpu, "memory": "32Mi"},
            "limits": {"cpu": "500m", "memory": "64Mi"},
        },
        "volumeMounts": [{"name": "done", "mountPath": "/done"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def run_of(namespace: str) -> str:
    """The run of a test's pods. Each test has one of its own: a run is the namespace's that had it
    first, and pods of the test before may still be there."""
    return f"run-{namespace}"


def make_pod(cluster: Cluster, namespace: str, pod: dict[str, Any]) -> str:
    """Make it, of the test's run where it has none; its uid."""
    pod["metadata"]["labels"].setdefault("pipeline/runid", run_of(namespace))
    return str(apply(cluster, pod, namespace)["metadata"]["uid"])


def pod_now(cluster: Cluster, namespace: str, name: str) -> dict[str, Any] | None:
    """As it looks now; None where it is gone."""
    try:
        return cluster.request("GET", f"{path_of('Pod', namespace)}/{name}")
    except Refused as error:
        if error.status == 404:
            return None
        raise


def log_of_main(cluster: Cluster, namespace: str, pod: str) -> str:
    path = f"{path_of('Pod', namespace)}/{pod}/log"
    with cluster._send("GET", path, None, {"container": "main"}, (5, 20)) as response:
        return str(response.data.decode())


def until_phase(
    cluster: Cluster, namespace: str, name: str, *phases: str, seconds: float = 60
) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        pod = pod_now(cluster, namespace, name)
        return pod if pod and pod["status"].get("phase") in phases else None

    try:
        return dict(until_true(there, seconds))
    except AssertionError as error:
        found = pod_now(cluster, namespace, name)
        status = json.dumps(found["status"])[:2000] if found else "it is not there"
        raise AssertionError(
            f"{namespace}/{name} is not {' or '.join(phases)} within {seconds} s: {status}"
        ) from error


@contextlib.contextmanager
def fake_node(cluster: Cluster, machine_type: str = "metered") -> Iterator[str]:
    """A node that kwok keeps alive; its name."""
    name = f"fake-metered-{secrets.token_hex(3)}"
    shape = {"cpu": "4", "memory": "16Gi", "pods": "110"}
    labels = {
        "kubernetes.io/hostname": name,
        "tally.dev/fake": "yes",
        "tally.dev/machine-type": machine_type,
    }
    node = {
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"taints": [{"key": "tally.dev/fake", "effect": "NoSchedule"}]},
        "status": {"allocatable": shape, "capacity": shape},
    }
    apply(cluster, node)
    try:
        until_true(lambda: _is_ready(cluster, name), 30)
        yield name
    finally:
        delete(cluster, "Node", name)


def _is_ready(cluster: Cluster, name: str) -> bool:
    node = cluster.request("GET", f"api/v1/nodes/{name}")
    conditions = node["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def lease_microseconds(cluster: Cluster, node: str) -> int:
    """When the node's Lease was last renewed."""
    from tally.kube.quantities import microseconds

    path = f"apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}"
    return microseconds(cluster.request("GET", path)["spec"]["renewTime"]) or 0


def sleep_until(monotonic_seconds: float) -> None:
    """For outages that have to last: there is no event to wait for."""
    time.sleep(max(0.0, monotonic_seconds - time.monotonic()))
