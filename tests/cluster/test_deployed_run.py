"""A run in what `make deploy OVERLAY=local` made: conducted under the shipped account, metered, and
scraped by the Prometheus of the same manifests."""

import json
import os
import secrets
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster.conducting import make_store
from helpers.cluster.deployed_run import CONDUCTOR, NODES, begin, client_of, settings_of_meter
from helpers.cluster.deploying import RUNS, TALLY, Deployed, forwarded, kubectl, make
from helpers.cluster.metering import fake_node, log_of_main, make_pod, step_pod, until_phase
from helpers.cluster.objects import apply, delete, every, labelled_nodes, path_of, until_true
from helpers.cluster.training_pods import Conducted
from helpers.prometheus.dashboard import data, targets, values_of, variables
from helpers.prometheus.server import Asked
from tally import clock
from tally.costing.quotes import RESIZE_ASKED, Quote
from tally.kube.cluster import Cluster
from tally.kube.manifests import GANG
from tally.kube.template import METRICS_PORT
from tally.meterclient import MeterClient
from tally.meterhttp import MeterRefused

pytestmark = pytest.mark.timeout(400)

EXACT = 1e-3
EDITOR = "editor"  # who may update Workflows there, as Kubeflow's default-editor
SCRAPE_SECONDS = 15  # of manifests/prometheus


@pytest.fixture(scope="module")
def prometheus(deployed: Deployed) -> Iterator[Asked]:
    with forwarded("tally-prometheus", 9090) as url:
        yield Asked(url)


@pytest.fixture(scope="module")
def meter(
    cluster: Cluster, deployed: Deployed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment of a user's command."""
    with forwarded("tally-meter", 8080) as url:
        yield settings_of_meter(cluster, url, tmp_path_factory.mktemp("token"))


@pytest.fixture(scope="module")
def run(
    cluster: Cluster, meter: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Conducted]:
    """Two workers train, which had to wait for a node, until the last test ends them; the run has a
    quote and a budget. One more node of the cluster has no price."""
    made = Conducted(cluster, RUNS, f"0191f0a0-0000-7000-8000-{secrets.token_hex(6)}")
    make_store(cluster, RUNS, tmp_path_factory.mktemp("run") / "store")
    with fake_node(cluster, machine_type="unheard-of"):
        try:
            begin(made)
            until_true(lambda: quoted(meter, made.run_id), 60)
            made.until(CONDUCTOR, lambda e: " waits: Unschedulable: 0/" in e.get("message", ""))
            with labelled_nodes(cluster, NODES):
                made.until_gang(CONDUCTOR, "0", "1")
                yield made
        finally:
            delete(cluster, "Pod", CONDUCTOR, RUNS)
            kubectl("delete", "-n", RUNS, "configmap/machines", "persistentvolumeclaim/store")
            delete(cluster, "PersistentVolume", f"{RUNS}-store")


def quoted(meter: dict[str, str], run_id: str) -> bool:
    """Whether the meter has taken a quote: it knows the run."""
    quote = Quote(
        run_id=run_id, made_at_microseconds=clock.now_microseconds(), low_usd=0.5,
        expected_usd=0.7, high_usd=0.9, budget_usd=2.0,
    )  # fmt: skip
    try:
        client_of(meter).post_quote(quote)
    except MeterRefused as refused:
        assert refused.status == 404, refused
        return False
    return True


@pytest.mark.smoke
def test_its_conductor_has_the_shipped_account_in_a_restricted_namespace(
    cluster: Cluster, run: Conducted
) -> None:
    pod = cluster.request("GET", f"{path_of('Pod', RUNS)}/{CONDUCTOR}")
    assert pod["spec"]["serviceAccountName"] == "tally-conductor"
    namespace = cluster.request("GET", f"api/v1/namespaces/{RUNS}")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    granted = kubectl("auth", "can-i", "--list", "-n", RUNS, f"--as={account()}")
    assert "jobs.batch" in granted
    assert "*" not in {line.split()[0] for line in granted.splitlines()}
    assert len(every(cluster, "Pod", RUNS)) == 2


def account() -> str:
    return f"system:serviceaccount:{RUNS}:tally-conductor"


@pytest.mark.parametrize(("name", "target"), targets(), ids=[name for name, _ in targets()])
def test_each_query_of_the_dashboard_finds_data(
    run: Conducted, prometheus: Asked, name: str, target: dict[str, Any]
) -> None:
    until_true(lambda: data(prometheus, target, run.run_id), 8 * SCRAPE_SECONDS)


@pytest.mark.parametrize("variable", variables())
def test_its_variables_find_values(run: Conducted, prometheus: Asked, variable: str) -> None:
    found = until_true(lambda: values_of(prometheus, variable, run.run_id), 4 * SCRAPE_SECONDS)
    assert {"pipeline": "cnn", "run": run.run_id}[variable] in found


def test_prometheus_finds_by_itself_whom_it_asks(run: Conducted, prometheus: Asked) -> None:
    """Meter, workers and kubelets; the fake node has none."""

    def down() -> list[tuple[str, str]]:
        found = prometheus.get("targets", state="active")["activeTargets"]
        real = [one for one in found if "fake" not in one["labels"]["instance"]]
        there = {(one["labels"]["job"], one["labels"].get("worker", "")) for one in real}
        missing = {("tally-meter", ""), ("tally-workers", "0"), ("tally-workers", "1")} - there
        return [*missing] + [
            (one["labels"]["job"], one["lastError"]) for one in real if one["health"] != "up"
        ]

    try:
        until_true(lambda: not down(), 4 * SCRAPE_SECONDS)
    except AssertionError:
        assert down() == []


def test_only_gang_and_prometheus_reach_a_workers_port(
    cluster: Cluster, run: Conducted, namespace: str
) -> None:
    """Where the cluster's network plugin enforces policies; else only that they are there."""
    (policy,) = every(cluster, "NetworkPolicy", RUNS)
    gang = policy["spec"]["podSelector"]["matchLabels"]
    workers = every(cluster, "Pod", RUNS)
    for worker in workers:
        assert gang.items() <= worker["metadata"]["labels"].items()
    own, scraper = policy["spec"]["ingress"]
    assert own["from"] == [{"podSelector": {"matchLabels": gang}}]
    assert scraper["ports"] == [{"port": METRICS_PORT, "protocol": "TCP"}]
    (prometheus,) = every(cluster, "Pod", TALLY, "app.kubernetes.io/name=prometheus")
    places = {
        "prometheus": f"{prometheus['status']['podIP']}:9090",
        "worker": f"{workers[0]['status']['podIP']}:{METRICS_PORT}",
    }
    reached = reached_from_outside(cluster, namespace, places)
    if reached["prometheus"]:  # only its own namespace may ask it
        warnings.warn(
            "the cluster's network plugin enforces no policy: that a stranger cannot reach a "
            "gang's port was not tried, only that the policy says so",
            stacklevel=1,
        )
        return
    assert not reached["worker"]


def reached_from_outside(
    cluster: Cluster, namespace: str, places: dict[str, str]
) -> dict[str, bool]:
    """Which of these addresses a pod of another namespace can connect to."""
    do = f"""
import json, socket
def reached(place):
    host, port = place.split(":")
    try: socket.create_connection((host, int(port)), 3).close()
    except OSError: return False
    return True
print(json.dumps({{name: reached(place) for name, place in {places!r}.items()}}))
"""
    make_pod(cluster, namespace, step_pod("stranger", f"exec({do!r})"))
    until_phase(cluster, namespace, "stranger", "Succeeded")
    said = log_of_main(cluster, namespace, "stranger").splitlines()[0]
    return dict(json.loads(said))


def test_it_is_not_undeployed_under(run: Conducted, cluster: Cluster) -> None:
    done = make("undeploy", "local")
    assert done.returncode == 2
    assert "expected no gang to run, got " in done.stderr
    assert f"{RUNS}/" in done.stderr
    assert len(every(cluster, "Pod", RUNS)) == 2


@pytest.fixture
def editor(cluster: Cluster, deployed: Deployed) -> Iterator[None]:
    named = {"metadata": {"name": EDITOR}}
    rule = {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["update"]}
    bound = {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": EDITOR},
        "subjects": [{"kind": "ServiceAccount", "name": EDITOR, "namespace": RUNS}],
    }
    made = {"ServiceAccount": {}, "Role": {"rules": [rule]}, "RoleBinding": bound}
    for kind, fields in made.items():
        apply(cluster, {"kind": kind, **named, **fields}, RUNS)
    yield
    for kind in made:
        delete(cluster, kind, EDITOR, RUNS)


@pytest.mark.smoke
@pytest.mark.usefixtures("editor")
def test_it_is_resized_and_ends_and_its_bill_is_what_prometheus_has(
    cluster: Cluster, run: Conducted, meter: dict[str, str], prometheus: Asked, tmp_path: Path
) -> None:
    with pytest.raises(MeterRefused, match="may update workflows"):
        client_of(meter).resize(run.run_id, 3)  # its own account has no such right
    editor = client_of(settings_of_meter(cluster, meter["TALLY_METER_URL"], tmp_path, EDITOR))
    until_true(lambda: asked(editor, run.run_id, 1), 60)  # the meter has heard of the gang
    one = run.until_gang(CONDUCTOR, "0")
    editor.resize(run.run_id, 3)
    three = run.until_gang(CONDUCTOR, "0", "1", "2", after=one["generation"])
    editor.resize(run.run_id, 2)
    run.until_gang(CONDUCTOR, "0", "1", after=three["generation"])
    until_true(lambda: in_order([1, 3, 2], sizes(editor, run.run_id)), 30)
    wishes = editor.events(run.run_id, kinds=(RESIZE_ASKED,))
    assert [(one.facts["workers"], one.facts["by"]) for one in wishes] == [
        (count, f"{RUNS}/{EDITOR}") for count in (1, 3, 2)
    ]
    cluster.request("DELETE", f"{path_of('Pod', RUNS)}/{CONDUCTOR}")
    for kind in ("Job", "Pod", "Secret", "Service", "NetworkPolicy"):
        until_true(lambda kind=kind: not every(cluster, kind, RUNS, GANG), 40)

    def closed() -> bool:
        rows = client_of(meter).usage(run.run_id)
        return all(row.end_microseconds is not None for row in rows)

    until_true(closed, 30)
    assert {"0", "1", "2"} <= {row.worker for row in client_of(meter).usage(run.run_id)}

    def apart() -> float:
        usd = client_of(meter).bill(run.run_id).hardware_usd
        scraped = prometheus.value(f'sum(tally_cost_usd_total{{run="{run.run_id}"}})')
        return abs(scraped / float(usd) - 1) if scraped else 1.0

    try:
        until_true(lambda: apart() <= EXACT, 4 * SCRAPE_SECONDS)
    except AssertionError:
        assert apart() <= EXACT
    compared = billed(meter, run.run_id, prometheus.url, tmp_path)
    assert compared["prometheus_usd"] == pytest.approx(compared["ledger_usd"], rel=EXACT)
    print(f"bill: {compared}")


def asked(client: MeterClient, run_id: str, workers: int) -> bool:
    """Whether the meter has taken the wish: the run trains."""
    try:
        client.resize(run_id, workers)
    except MeterRefused as refused:
        assert refused.status == 409, refused
        return False
    return True


def in_order(wanted: list[int], found: list[int]) -> bool:
    """Whether those are among these in this order: two workers may be ready before the third."""
    left = iter(found)
    return all(one in left for one in wanted)


def sizes(client: MeterClient, run_id: str) -> list[int]:
    told = client.events(run_id, kinds=("generation",))
    return [len(event.facts["workers"]) for event in told]


def billed(meter: dict[str, str], run_id: str, url: str, home: Path) -> Any:
    """`tally bill RUN --from-prometheus URL`, on a machine whose own ledger knows nothing of it."""
    done = subprocess.run(
        [sys.executable, "-m", "tally", "bill", run_id, "--from-prometheus", url, "--json"],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TALLY_HOME": str(home), **meter},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["total"]
