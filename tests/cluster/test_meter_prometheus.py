"""Three ways to one bill: the ledger, Tally's counters in Prometheus, and what kubelets told it."""

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster.metering import MeterProcess, make_pod, sleep_until, step_pod, until_phase
from helpers.cluster.objects import PROJECT, every, until_true
from helpers.cluster.prometheus_beside import (
    KUBELET_SECONDS,
    amount,
    beside,
    bill_from_prometheus,
    nodes_with_kubelet,
    scrape_times,
    scraped_usd,
    status_without_token,
    told_by_kubelets,
    usd_per_second,
)
from helpers.cluster.watched import Watched
from helpers.prometheus.server import Prometheus
from tally.costing.ledger import open_ledger
from tally.kube.cluster import Cluster

Make = Callable[..., Any]

pytestmark = [pytest.mark.program("prometheus"), pytest.mark.timeout(300)]

ARITHMETIC = 1e-3
TWO_SCRAPES_SECONDS = 2 * KUBELET_SECONDS
OUTAGES = [
    pytest.param(20.0, id="20s"),
    pytest.param(120.0, id="two-minutes", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
]


@pytest.fixture
def meter(meter_of: Make, namespace: str) -> Iterator[MeterProcess]:
    """It has started; /metrics is for tokens of this namespace."""
    made: MeterProcess = meter_of(TALLY_METER_METRICS_OPEN="0", TALLY_METER_READERS=namespace)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def prometheus(
    cluster: Cluster,
    namespace: str,
    meter: MeterProcess,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Prometheus]:
    """It asks the meter every so many seconds."""
    yield from beside(cluster, namespace, tmp_path / "prometheus", meter, request.param)


@pytest.mark.smoke
@pytest.mark.parametrize("prometheus", [8], indirect=True, ids=["8s"])
def test_three_ways_to_a_runs_bill_agree(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    template: Make,
    meter: MeterProcess,
    gang_of: Make,
    watched: Watched,
    prometheus: Prometheus,
) -> None:
    assert status_without_token(meter) == 401
    made = spec(metered=True)
    pods = Pods(cluster, namespace, made.run_id)
    pods.driver("driver")
    pods.step("conductor", 24)
    gang, told = gang_of(made, template())
    gang.start(2)
    told.until_started("0", "1")
    pods.look()
    short = between_two_scrapes(cluster, namespace, watched, prometheus, spec)
    gang.resize(3)
    told.until_started("2")
    pods.look()
    pods.step("evaluate", 5)
    until_phase(cluster, namespace, "evaluate", "Succeeded")
    gang.resize(1)
    told.until(lambda c: c.worker == "2" and c.state == "ended", 15)
    until_phase(cluster, namespace, "conductor", "Succeeded")
    pods.look()
    gang.stop(10)
    assert set(pods.made) < watched.uids()

    until_settled(meter, watched.uids())
    for uid in watched.uids():
        check(watched, uid, meter)
    for run_id in (made.run_id, short):
        until_scraped(meter, prometheus, run_id)
        in_prometheus, in_ledger = bill_from_prometheus(meter, prometheus, run_id)
        assert in_prometheus == pytest.approx(in_ledger, rel=ARITHMETIC)
    agrees_with_kubelets(cluster, meter, prometheus, pods)


@pytest.mark.parametrize("prometheus", [2], indirect=True, ids=["2s"])
@pytest.mark.parametrize("seconds", OUTAGES)
def test_what_ran_while_prometheus_was_down_is_in_its_figures(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    meter: MeterProcess,
    prometheus: Prometheus,
    seconds: float,
) -> None:
    runs = {name: Pods(cluster, namespace, spec().run_id) for name in ("ends", "unseen", "lasts")}
    runs["ends"].step("ends", 0.75 * seconds)
    runs["lasts"].step("lasts", 600)
    for name in ("ends", "lasts"):
        until_true(lambda name=name: scraped_usd(prometheus, runs[name].run_id) is not None, 40)
    prometheus.kill()
    back = time.monotonic() + seconds
    runs["unseen"].step("unseen", 1)
    for name in ("ends", "unseen"):
        until_phase(cluster, namespace, name, "Succeeded", seconds=60 + seconds)
    until_settled(meter, {*runs["ends"].made, *runs["unseen"].made})
    sleep_until(back)
    with open_ledger(meter.ledger_url) as ledger:
        missed = ledger.bill(runs["lasts"].run_id).hardware_usd
    prometheus.start()
    for name in ("ends", "unseen"):
        until_scraped(meter, prometheus, runs[name].run_id)
        in_prometheus, in_ledger = bill_from_prometheus(meter, prometheus, runs[name].run_id)
        assert in_prometheus == pytest.approx(in_ledger, rel=ARITHMETIC)
    least = float(missed) * (1 - ARITHMETIC)
    until_true(lambda: (scraped_usd(prometheus, runs["lasts"].run_id) or 0) >= least, 30)


class Pods:
    """Those of one run, as the API server has them, by uid."""

    def __init__(self, cluster: Cluster, namespace: str, run_id: str) -> None:
        self.cluster, self.namespace, self.run_id = cluster, namespace, run_id
        self.made: dict[str, Any] = {}

    def step(self, name: str, seconds: float, **meta: Any) -> None:
        """A pod of a step, with work for so long."""
        labels = {"pipeline/runid": self.run_id}
        pod = step_pod(name, f"time.sleep({seconds})", labels=labels, **meta)
        make_pod(self.cluster, self.namespace, pod)
        self.look()

    def driver(self, name: str) -> None:
        """A pod that KFP puts before a task."""
        recorded = json.loads((PROJECT / "tests/kube/pods/kfp-driver.json").read_text())
        self.step(name, 3, annotations=recorded["metadata"]["annotations"])

    def look(self) -> None:
        """Take note of those that are there, also of what has made itself."""
        of_run = f"pipeline/runid={self.run_id}"
        for pod in every(self.cluster, "Pod", self.namespace, of_run):
            self.made[pod["metadata"]["uid"]] = pod


def between_two_scrapes(
    cluster: Cluster, namespace: str, watched: Watched, prometheus: Prometheus, spec: Make
) -> str:
    """A run of which the meter was not asked while it lasted."""
    for number in range(3):
        before = scrape_times(prometheus)
        until_true(lambda before=before: scrape_times(prometheus) != before, 30)
        pods, born = Pods(cluster, namespace, spec().run_id), time.time()
        pods.step(f"short-{number}", 0)
        (uid,) = pods.made
        until_phase(cluster, namespace, f"short-{number}", "Succeeded")
        seen = until_true(lambda uid=uid: watched.of(uid) if watched.of(uid).ended else None, 10)
        gone = seen.ended + 1  # Kubernetes cuts seconds off
        if not any(born <= at <= gone for at in scrape_times(prometheus)):
            return str(pods.run_id)
    raise AssertionError("expected one of three runs to be quicker than scrapes follow each other")


def until_settled(meter: MeterProcess, uids: set[str]) -> None:
    """The ledger has these pods' ends, and has heard of their node since."""
    lasts = [rows[-1] for rows in meter.until_closed(*uids).values()]

    def heard() -> bool:
        with open_ledger(meter.ledger_url) as ledger:
            known = {node.node_uid: node.stop_microseconds for node in ledger.nodes()}
        return all(known[row.node_uid] >= row.stop_microseconds for row in lasts)

    until_true(heard, 40)


def check(watched: Watched, uid: str, meter: MeterProcess) -> None:
    """The ledger has the pod as the test has seen it, to a second."""
    rows = meter.rows(uid)
    if not rows[-1].worker.startswith("driver-"):
        watched.check(uid, rows)
        return
    seen = watched.of(uid)
    (_, startup) = rows
    assert startup.phase == "startup"
    assert abs(startup.start_microseconds / 1e6 - seen.scheduled) <= 1
    assert abs(startup.stop_microseconds / 1e6 - seen.ended) <= 1


def until_scraped(meter: MeterProcess, prometheus: Prometheus, run_id: str) -> None:
    """Prometheus has what an ended run has cost, and no more: its last heartbeat is taken back."""
    with open_ledger(meter.ledger_url) as ledger:
        usd = pytest.approx(float(ledger.bill(run_id).hardware_usd), rel=ARITHMETIC)
    with contextlib.suppress(AssertionError):
        until_true(lambda: scraped_usd(prometheus, run_id) == usd, 30)
    with open_ledger(meter.ledger_url) as ledger:
        now = float(ledger.bill(run_id).hardware_usd)
    assert scraped_usd(prometheus, run_id) == usd, (run_id, now, meter.problems())


def agrees_with_kubelets(
    cluster: Cluster, meter: MeterProcess, prometheus: Prometheus, pods: Pods
) -> None:
    """Each pod's time, and the money that it makes: by what kubelets told Prometheus, what pods ask
    for, what the node has and what it costs; nothing of it from the meter."""
    nodes = {node["metadata"]["name"]: node for node in nodes_with_kubelet(cluster)}
    told = told_by_kubelets(prometheus, pods.namespace)
    with open_ledger(meter.ledger_url) as ledger:
        charges = [c for c in ledger.pod_charges([pods.run_id]) if c.usage.phase != "queue"]
    usd, seconds = defaultdict(float), defaultdict(float)
    for charge in charges:
        row = charge.usage
        usd[row.pod_uid] += float(charge.hardware_usd)
        seconds[row.pod_uid] += (row.stop_microseconds - row.start_microseconds) / 1e6
    assert set(usd) == set(pods.made)
    for uid, pod in pods.made.items():
        asked = [container["resources"]["requests"] for container in pod["spec"]["containers"]]
        price = usd_per_second(nodes[pod["spec"]["nodeName"]], asked)
        own = told[pod["metadata"]["name"]]
        lasted = own.end - own.start
        assert own.memory_bytes <= amount(asked, "memory")  # what it asks for is what it pays
        assert own.cpu_core_seconds <= amount(asked, "cpu") * lasted
        found = pod["metadata"]["name"], seconds[uid], lasted, usd[uid], lasted * price
        assert abs(seconds[uid] - lasted) <= TWO_SCRAPES_SECONDS, found
        assert abs(usd[uid] - lasted * price) <= TWO_SCRAPES_SECONDS * price, found
