"""Against a real Kubernetes, KUBECONFIG's: each test has a namespace that takes no insecure pod."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.cluster.deploying import (
    LEDGER,
    RUNS,
    TALLY,
    Deployed,
    deploy,
    kubectl,
    left,
    make,
    no_tally,
)
from helpers.cluster.following import Told
from helpers.cluster.metering import MACHINES, MeterProcess, account
from helpers.cluster.objects import IMAGE, PROJECT, STAND_IN, apply, labelled_nodes, until_true
from helpers.cluster.training_pods import Store, node_address
from helpers.cluster.watched import Watched
from helpers.cluster.workflows import Workflows, defined
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
    with labelled_nodes(cluster, {"tally.dev/machine-type": "metered"}):
        yield


@pytest.fixture
def meter_of(
    kubeconfig: Path, machine_type: None, tmp_path: Path
) -> Iterator[Callable[..., MeterProcess]]:
    """A meter that is not started yet; ended when the test is over. It leaves gangs alone: those of
    tests have no conductor."""
    machines = tmp_path / "machines"
    machines.mkdir()
    (machines / "own.yaml").write_text(MACHINES)
    made: list[MeterProcess] = []

    def make(
        ledger_url: str = f"sqlite:///{tmp_path}/ledger.db", **environment: str
    ) -> MeterProcess:
        name = f"meter-{len(made)}"
        given = {"TALLY_MACHINES": str(machines), "TALLY_METER_REAPS": "-", **environment}
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


@pytest.fixture
def workflows(cluster: Cluster, namespace: str) -> Iterator[Workflows]:
    """Those of the test's namespace."""
    with defined(cluster, namespace) as made:
        yield made


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    """A real S3 server on this machine."""
    # else it takes the first word of a Service's name for a bucket's
    os.environ["S3_IGNORE_SUBDOMAIN_BUCKETNAME"] = "true"
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="0.0.0.0", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    made = Store(f"http://{node_address()}:{port}")
    made.make()
    yield made
    server.stop()


@pytest.fixture(scope="session")
def deployed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """`make deploy OVERLAY=local`, for all tests that follow: it has a meter. The nodes are of a
    machine type with a price."""
    priced = {"node.kubernetes.io/instance-type": "e2-standard-2"}
    with labelled_nodes(cluster, priced), no_tally(cluster, tmp_path_factory.mktemp("deployed")):
        try:
            twice = Deployed(deploy("local"), deploy("local"))
            meter = "-n", TALLY, "deployment/tally-meter"
            kubectl("set", "env", *meter, f"TALLY_METER_REAPS={RUNS}")  # others have no conductor
            kubectl("rollout", "status", *meter, "--timeout=60s")
            yield twice
        finally:
            if left() - LEDGER:  # not where the test of undeploying has passed
                make("undeploy", "local", FORCE="1")
