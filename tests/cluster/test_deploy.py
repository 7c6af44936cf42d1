"""`make deploy` into a cluster without Tally: twice, and out of it again."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.built_manifests import with_components
from helpers.cluster.deploying import (
    LEDGER,
    RUNS,
    TALLY,
    Deployed,
    deploy,
    inside,
    kubectl,
    left,
    no_tally,
    undeploy,
)  # fmt: skip
from helpers.cluster.objects import every, until_true
from helpers.cluster.volumes import is_node_here
from tally.kube.cluster import Cluster

PROFILE = "tally-test-profile"
KUEUE = {"ResourceFlavor": "Cluster", "ClusterQueue": "Cluster", "LocalQueue": "Namespaced"}


@pytest.fixture
def kubeflow() -> Any:
    """The namespaces that an installation of Kubeflow has."""
    for name in ("kubeflow", PROFILE):
        kubectl("create", "namespace", name)
    kubectl("create", "serviceaccount", "default-editor", "-n", PROFILE)
    yield
    kubectl("delete", "namespace", "kubeflow", PROFILE)


@pytest.fixture
def kueue() -> Any:
    """Kueue's kinds, with nobody who does anything about them."""
    text = yaml.safe_dump_all(_definition(kind, scope) for kind, scope in KUEUE.items())
    kubectl("apply", "-f", "-", given=text)
    for kind in KUEUE:
        kubectl("wait", "--for=condition=Established", f"crd/{kind.lower()}s.kueue.x-k8s.io")
    yield
    kubectl("delete", "-f", "-", given=text)


def _definition(kind: str, scope: str) -> dict[str, Any]:
    plural, anything = f"{kind.lower()}s", {"x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1beta2", "served": True, "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", **anything}},
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.kueue.x-k8s.io"},
        "spec": {
            "group": "kueue.x-k8s.io", "scope": scope, "versions": [version],
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
        },
    }  # fmt: skip


def check_deployed_twice_and_removed(overlay: str, namespaces: set[str], **values: str) -> None:
    """Also that it takes nothing away that was there before."""
    before = {name: inside(name) for name in namespaces}
    first = deploy(overlay, **values)
    assert [line for line in first if not line.endswith(" created")] == []
    again = deploy(overlay, **values)
    assert [line for line in again if not line.endswith(" unchanged")] == []
    assert len(again) == len(first)
    undeploy(overlay)
    assert left() == LEDGER
    assert {name: inside(name) for name in namespaces} == before


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("overlay", ["gke", "gke-tpu", "kubeflow", "kubeflow-multiuser"])
def test_each_overlay_is_deployed_twice_and_removed(
    cluster: Cluster, kubeflow: None, tmp_path: Path, overlay: str
) -> None:
    with no_tally(cluster, tmp_path):
        check_deployed_twice_and_removed(overlay, {"kubeflow", PROFILE})


@pytest.mark.slow
def test_so_are_its_components(cluster: Cluster, kueue: None, tmp_path: Path) -> None:
    """Grafana's image is in no registry of the test cluster: nobody waits for it."""
    own = with_components(tmp_path, "local", "grafana", "kueue")
    (tmp_path / "volumes").mkdir()
    with no_tally(cluster, tmp_path / "volumes"):
        check_deployed_twice_and_removed(str(own), set(), WAIT="0")


@pytest.mark.smoke
def test_all_of_the_overlay_is_new_and_the_second_time_unchanged(deployed: Deployed) -> None:
    assert [line for line in deployed.first if not line.endswith(" created")] == []
    assert [line for line in deployed.again if not line.endswith(" unchanged")] == []
    assert len(deployed.again) == len(deployed.first) > 20


@pytest.mark.smoke
def test_the_meter_and_prometheus_run_as_nobody_with_a_read_only_root(
    cluster: Cluster, deployed: Deployed
) -> None:
    pods = every(cluster, "Pod", TALLY, "")
    assert {pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods} == {
        "tally-meter", "prometheus",
    }  # fmt: skip
    for pod in pods:
        (status,) = pod["status"]["containerStatuses"]
        assert (status["ready"], status["restartCount"]) == (True, 0)
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        if is_node_here():
            uid = pod["spec"]["securityContext"]["runAsUser"]
            assert _users(pod["metadata"]["uid"]) == {uid} != {0}


def _users(pod_uid: str) -> set[int]:
    """As whom the processes of a pod run, but that of its sandbox."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if pod_uid in (entry / "cgroup").read_text():
                    command = (entry / "cmdline").read_bytes()
                    if not command.startswith(b"/pause"):
                        status = (entry / "status").read_text()
                        found.add(int(status.partition("Uid:")[2].split()[0]))
            except OSError:
                continue  # it has ended
    return found


@pytest.mark.parametrize("namespace_", [TALLY, RUNS])
def test_its_namespaces_take_no_insecure_pod(deployed: Deployed, namespace_: str) -> None:
    words = ["run", "insecure", "-n", namespace_, "--image=any", "--dry-run=server"]
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted'):
        kubectl(*words)


@pytest.mark.smoke
def test_the_meter_is_well_and_the_ledger_on_its_volume(
    cluster: Cluster, deployed: Deployed
) -> None:
    (pod,) = every(cluster, "Pod", TALLY, "app.kubernetes.io/name=tally-meter")
    path = f"api/v1/namespaces/{TALLY}/pods/{pod['metadata']['name']}:8080/proxy/healthz"
    said = until_true(lambda: cluster.request("GET", path), 30)
    assert (said["status"], said["problems"], said["notices"]) == ("ok", [], [])
    claim = cluster.request("GET", f"api/v1/namespaces/{TALLY}/persistentvolumeclaims/tally-ledger")
    assert claim["status"]["phase"] == "Bound"
