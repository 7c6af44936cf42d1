"""The meter as manifests/base/meter deploys it: its own image, `restricted` pods only."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.cluster.metering import MACHINES, OWN, make_pod, step_pod
from helpers.cluster.objects import PROJECT, delete, every, log_of, until_true
from helpers.cluster.volumes import bind, is_node_here, open_folder
from helpers.cluster.watched import Watched
from tally.costing.ledger import open_ledger
from tally.costing.usage import Usage, in_order_of_life
from tally.kube.cluster import Cluster, Refused

Make = Callable[..., Any]

SUFFIX = "-deployed"


@pytest.fixture
def ledger_folder(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """What the claim of the manifests is bound to: a folder of this machine."""
    if not is_node_here():
        pytest.skip("the volume is a folder of this machine: only with the cluster of up.sh")
    folder, claim = open_folder(tmp_path / "ledger"), f"tally-ledger{SUFFIX}"
    bind(cluster, folder, namespace, claim, "ReadWriteOnce", "5Gi")
    yield folder
    delete(cluster, "PersistentVolume", f"{namespace}-{claim}")


@pytest.fixture
def deployed(
    cluster: Cluster, namespace: str, ledger_folder: Path, machine_type: None, tmp_path: Path
) -> Iterator[str]:
    """A selector of the meter's pod."""
    kubectl = shutil.which("kubectl") or str(OWN / "bin/kubectl")
    base = os.path.relpath(PROJECT / "manifests/base/meter", tmp_path)
    environment = {
        "TALLY_KUBELET_TLS": "insecure",  # its kubelet signs for itself
        "TALLY_METER_REAPS": namespace,  # other tests' gangs have no conductor
    }
    env = [{"name": name, "value": value} for name, value in environment.items()]
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "tally-meter"},
        "spec": {"template": {"spec": {"containers": [{"name": "meter", "env": env}]}}},
    }
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "nameSuffix": SUFFIX,
        "resources": [base],
        "patches": [{"patch": yaml.safe_dump(patch)}],
        "configMapGenerator": [{"name": "tally-machines", "literals": [f"own.yaml={MACHINES}"]}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    made = [kubectl, "kustomize", str(tmp_path)]
    objects = subprocess.run(made, check=True, capture_output=True).stdout
    subprocess.run([kubectl, "apply", "-f", "-"], input=objects, check=True, capture_output=True)
    yield "app.kubernetes.io/name=tally-meter"
    subprocess.run(
        [kubectl, "delete", "--wait=false", "-f", "-"],
        input=objects,
        check=True,
        capture_output=True,
    )


def health(cluster: Cluster, namespace: str, selector: str) -> dict[str, Any]:
    """What /healthz says through the API server; nothing where nobody answers."""
    for pod in every(cluster, "Pod", namespace, selector):
        path = f"api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}:8080/proxy/healthz"
        try:
            return cluster.request("GET", path, seconds=2)
        except Refused:
            pass
    return {}


@pytest.mark.smoke
def test_what_the_manifests_deploy_meters_pods_and_lets_gangs_go(
    cluster: Cluster,
    namespace: str,
    deployed: str,
    ledger_folder: Path,
    spec: Make,
    template: Make,
    gang_of: Make,
    watched: Watched,
) -> None:
    try:
        until_true(lambda: health(cluster, namespace, deployed).get("status") == "ok", 90)
    except AssertionError:
        (pod,) = every(cluster, "Pod", namespace, deployed)
        print(pod["status"], log_of(cluster, namespace, pod["metadata"]["name"]))
        raise
    (pod,) = every(cluster, "Pod", namespace, deployed)
    (mine,) = watched.uids()
    assert pod["metadata"]["uid"] == mine
    step = make_pod(cluster, namespace, step_pod("step", "time.sleep(2)"))
    gang, told = gang_of(spec(metered=True), template())
    gang.start(2)
    workers = told.until_started("0", "1")
    gang.stop(10)
    until_true(lambda: not every(cluster, "Pod", namespace), 20)

    def rows(uid: str) -> list[Usage]:
        with open_ledger(f"sqlite:///{ledger_folder}/ledger.db") as ledger:
            return in_order_of_life(ledger.usage_of_pods([uid]))

    until_true(lambda: rows(step) and rows(step)[-1].end_microseconds, 30)
    for uid in (step, *workers.values()):
        watched.check(uid, rows(uid))
        assert rows(uid)[-1].machine_type == "metered"
    assert rows(mine)[-1].end_microseconds is None  # it meters itself, as a pod of no run
    assert rows(mine)[-1].run_id == ""
    (real,) = every(cluster, "Pod", namespace, deployed)
    assert real["status"]["containerStatuses"][0]["restartCount"] == 0
    assert health(cluster, namespace, deployed)["notices"] == []  # the kubelet answers
