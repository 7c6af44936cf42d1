"""Against a real Kubernetes, KUBECONFIG's: each test has a namespace that takes no insecure pod."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from following import Told
from metering import MACHINES, MeterProcess, account
from objects import IMAGE, PROJECT, STAND_IN, apply, until_true
from watched import Watched

from tally.kube.cluster import Cluster
from tally.kube.gang import KubernetesGang
from tally.kube.manifests import GangSpec
from tally.kube.template import WorkerTemplate

TOKEN = b"a-token-of-the-tests"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """As an administrator."""
    if not os.environ.get("KUBECONFIG"):
        pytest.exit("tests/cluster: expected KUBECONFIG to be set; run `make test-cluster`", 2)
    return Cluster()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace under the `restricted` pod security standard, with the conductor's account."""
    name = f"tally-test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply(cluster, {"kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    for item in yaml.safe_load_all((PROJECT / "manifests/gang-rbac.yaml").read_text()):
        for subject in item.get("subjects", []):
            subject["namespace"] = name
        apply(cluster, item, name)
    default = f"api/v1/namespaces/{name}/serviceaccounts?fieldSelector=metadata.name=default"
    until_true(lambda: cluster.request("GET", default)["items"], 20)
    yield name
    cluster.request("DELETE", f"api/v1/namespaces/{name}")


@pytest.fixture
def conductor(cluster: Cluster, namespace: str, tmp_path: Path) -> Cluster:
    """As the conductor: what its Role does not allow fails."""
    path = f"api/v1/namespaces/{namespace}/serviceaccounts/tally-conductor/token"
    token = cluster.request("POST", path, {"spec": {"expirationSeconds": 3600}})
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for user in config["users"]:
        user["user"] = {"token": token["status"]["token"]}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return Cluster(str(path))


@pytest.fixture
def spec(namespace: str) -> Callable[..., GangSpec]:
    """A gang's spec; keyword arguments change it."""

    def make(**changes: Any) -> GangSpec:
        usual: dict[str, Any] = {
            "run_id": f"0191f0a0-0000-7000-8000-{secrets.token_hex(6)}",
            "step": "train",
            "pipeline": "cnn",
            "team": namespace,
            "attempt": 1,
            "namespace": namespace,
            "coordinator": "192.0.2.1:7000",
            "deadline_seconds": 600,
        }
        return GangSpec(**{**usual, **changes})

    return make


@pytest.fixture
def template() -> Callable[..., WorkerTemplate]:
    """A small worker that waits for SIGTERM, or does what the environment's DO says."""

    def make(**changes: Any) -> WorkerTemplate:
        usual: dict[str, Any] = {
            "image": IMAGE,
            "cpu_cores": 0.1,
            "memory_bytes": 64 << 20,
            "command": ("python", "-S", "-c", STAND_IN),
        }
        return WorkerTemplate(**{**usual, **changes})

    return make


@pytest.fixture
def gang_of(conductor: Cluster) -> Iterator[Callable[..., tuple[KubernetesGang, Told]]]:
    """A gang and what it tells; stopped when the test is over."""
    made = []

    def make(spec: GangSpec, template: WorkerTemplate) -> tuple[KubernetesGang, Told]:
        gang = KubernetesGang(conductor, spec, template, TOKEN)
        told = Told()
        gang.watch(told)
        made.append(gang)
        return gang, told

    yield make
    for gang in made:
        gang.stop(0)


@pytest.fixture
def kubeconfig(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """The meter's: it may do what its manifests say and nothing more."""
    for config in account(cluster, namespace):
        path = tmp_path / "meter.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        yield path


@pytest.fixture
def machine_type(cluster: Cluster) -> Iterator[None]:
    """Every real node is of the machine type `metered`."""
    nodes = [
        node["metadata"]["name"]
        for node in cluster.request("GET", "api/v1/nodes")["items"]
        if "tally.dev/fake" not in node["metadata"]["labels"]
    ]

    def label(value: str | None) -> None:
        body = {"metadata": {"labels": {"tally.dev/machine-type": value}}}
        for node in nodes:
            cluster.request("PATCH", f"api/v1/nodes/{node}", body)

    label("metered")
    yield
    label(None)


@pytest.fixture
def meter_of(
    kubeconfig: Path, machine_type: None, tmp_path: Path
) -> Iterator[Callable[..., MeterProcess]]:
    """A meter that is not started yet; ended when the test is over."""
    machines = tmp_path / "machines"
    machines.mkdir()
    (machines / "own.yaml").write_text(MACHINES)
    made: list[MeterProcess] = []

    def make(
        ledger_url: str = f"sqlite:///{tmp_path}/ledger.db", **environment: str
    ) -> MeterProcess:
        name = f"meter-{len(made)}"
        given = {"TALLY_MACHINES": str(machines), **environment}
        made.append(MeterProcess(tmp_path, kubeconfig, ledger_url, given, name=name))
        return made[-1]

    yield make
    for meter in made:
        if meter.process is not None:
            meter.kill()


@pytest.fixture
def watched(cluster: Cluster, namespace: str) -> Iterator[Watched]:
    made = Watched(cluster, namespace)
    yield made
    made.stop()
