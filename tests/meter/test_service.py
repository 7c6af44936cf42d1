"""The meter as a process, with an API server that stands in for the real one."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from helpers.meter.process import Process, lease, until
from helpers.meter.standin import ARGO, ApiStandIn
from helpers.meter.told import node, recorded
from tally.costing.ledger import open_ledger
from tally.costing.usage import Usage
from tally.kube.manifests import FINALIZER


@pytest.fixture
def api() -> Iterator[ApiStandIn]:
    made = ApiStandIn()
    made.start()
    made.put("nodes", node(), "ADDED")
    made.put("leases", lease(), "ADDED")
    yield made
    made.stop()


@pytest.fixture
def meter(api: ApiStandIn, tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path, api)
    yield made
    made.kill()


def held_pod() -> dict[str, Any]:
    """A gang's pod that is over but for the finalizer."""
    return recorded(
        "deleted", finalizers=[FINALIZER], deletionTimestamp="2026-11-24T10:01:00Z",
        deletionGracePeriodSeconds=0,
    )  # fmt: skip


def locked(url: str) -> sqlite3.Connection:
    """The ledger, held by somebody else."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_it_looks_patches_only_its_finalizer_and_asks_for_nothing_else(
    api: ApiStandIn, meter: Process
) -> None:
    until(lambda: meter.health()[0] == 200)
    api.put("pods", recorded("running"), "ADDED")
    api.put("pods", held_pod(), "ADDED")
    until(lambda: len(meter.rows()) == 6)
    (patch,) = until(lambda: api.patches)
    name = held_pod()["metadata"]["name"]
    assert patch[0].endswith(f"/pods/{name}")
    assert patch[1][-1] == {"op": "remove", "path": "/metadata/finalizers/0"}
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    until(lambda: ("GET", "/apis/batch/v1/jobs") in api.asked)
    assert {path for _, path in api.asked} == {
        "/version", "/api", "/apis", "/api/v1", "/api/v1/pods", "/api/v1/nodes", leases,
        ARGO, "/apis/batch/v1/jobs",
    }  # fmt: skip
    with open_ledger(meter.url) as ledger:
        assert {run.engine for run in ledger.runs()} == {"cluster"}


def ended_run(api: ApiStandIn) -> str:
    """A run whose Workflow was terminated, with its step's pod and a gang's Job; its id."""
    pod = recorded("kfp-executor")
    labels, namespace = pod["metadata"]["labels"], pod["metadata"]["namespace"]
    run_id, name = labels["pipeline/runid"], labels["workflows.argoproj.io/workflow"]
    meta = {"namespace": namespace, "labels": {"pipeline/runid": run_id}}
    workflow = {"metadata": {**meta, "name": name, "uid": "w"}, "status": {"phase": "Failed"}}
    gang = {"tally.dev/gang": "g", "tally.dev/run": run_id, "pipeline/runid": run_id}
    owners = [{"kind": "Workflow", "name": name, "uid": "w"}]
    job = {"name": "g", "uid": "j", "labels": gang, "ownerReferences": owners}
    api.has_workflows = True
    api.put("workflows", {**workflow, "spec": {"activeDeadlineSeconds": 0}}, "ADDED")
    api.put("jobs", {"metadata": {**meta, **job}}, "ADDED")
    api.put("pods", pod, "ADDED")
    return str(run_id)


@pytest.mark.slow
def test_the_gang_of_a_terminated_run_goes_and_its_bill_is_closed(
    api: ApiStandIn, meter: Process
) -> None:
    until(lambda: meter.health()[0] == 200)
    run_id = ended_run(api)
    record = until(lambda: (r := meter.run(run_id)) and r.ended_at_microseconds and r)
    assert record.state == "cancelled"
    assert api.objects["jobs"] == {} and len(api.deletions) == 1


@pytest.mark.slow
def test_two_meters_say_the_same_of_a_run_whoever_removes_its_gang(
    api: ApiStandIn, meter: Process, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    second = Process(tmp_path / "second", api)
    try:
        for one in (meter, second):
            until(lambda one=one: one.health()[0] == 200)
        run_id = ended_run(api)
        records = [
            until(lambda one=one: (r := one.run(run_id)) and r.ended_at_microseconds and r)
            for one in (meter, second)
        ]
        assert records[0] == records[1] and records[0].state == "cancelled"
        assert api.objects["jobs"] == {} and 1 <= len(api.deletions) <= 2
        assert meter.health() == second.health() == (200, "")
    finally:
        second.kill()


def test_a_meter_of_an_older_role_meters_on_and_says_once_what_it_may_not(
    api: ApiStandIn, meter: Process
) -> None:
    api.forbidden = {"list jobs.batch", "list workflows.argoproj.io"}
    run_id = ended_run(api)
    until(lambda: meter.health() == (200, ""))
    until(lambda: meter.run(run_id) and any(row.end_microseconds for row in meter.rows()))
    (notice,) = until(meter.notices)
    assert notice.startswith("ended runs: expected to end what is left of them, may not list jobs")
    assert notice.endswith("apply the ClusterRole of manifests/base/meter/account.yaml")
    said = [line for line in (meter.folder / "log").read_text().splitlines() if "may not" in line]
    assert len(said) == 1
    assert api.objects["jobs"] and meter.health() == (200, "")


@pytest.mark.slow
def test_the_finalizer_stays_until_the_ledger_has_the_row(api: ApiStandIn, meter: Process) -> None:
    until(lambda: meter.health()[0] == 200)
    found: list[Usage] = []
    api.patching = lambda: found.extend(meter.rows())
    api.put("pods", held_pod(), "ADDED")
    until(lambda: api.patches)
    assert {row.phase for row in found} == {"queue", "startup", "work"}
    assert all(row.end_microseconds is not None for row in found)


@pytest.mark.slow
def test_sigterm_writes_until_when_everything_lasted(api: ApiStandIn, meter: Process) -> None:
    until(lambda: meter.health()[0] == 200)
    api.put("pods", recorded("running"), "ADDED")
    (before,) = until(meter.open_rows)
    until(lambda: time.time() * 1e6 - before.heartbeat_at_microseconds > 4e6)
    api.put("leases", lease())  # a sign of the node; the row is not due for a while yet
    until(lambda: api.is_told("leases"))
    meter.terminate()
    (after,) = meter.open_rows()
    assert after.heartbeat_at_microseconds - before.heartbeat_at_microseconds > 2e6


@pytest.mark.timing
def test_sigterm_ends_it_within_seconds_whoever_holds_the_ledger(
    api: ApiStandIn, meter: Process
) -> None:
    until(lambda: meter.health()[0] == 200)
    holder = locked(meter.url)
    api.put("pods", recorded("running"), "ADDED")
    until(lambda: ("GET", "/api/v1/pods") in api.asked)
    assert meter.terminate() < 15
    holder.close()


def test_without_an_api_server_it_says_so_and_begins_once_there_is_one(tmp_path: Path) -> None:
    api = ApiStandIn()
    meter = Process(tmp_path, api)
    try:
        until(lambda: "expected to GET version, got no answer" in meter.health()[1])
        assert meter.health()[0] == 503
        said = urllib3.request("GET", f"http://127.0.0.1:{meter.port}/v1/runs", retries=False)
        assert said.status == 503 and "expected to GET version" in said.json()["error"]
        api.start()
        api.put("nodes", node(), "ADDED")
        until(lambda: meter.health() == (200, ""))
    finally:
        meter.kill()
        api.stop()


@pytest.mark.slow
def test_an_api_server_that_was_away_is_watched_again(api: ApiStandIn, meter: Process) -> None:
    until(lambda: meter.health()[0] == 200)
    api.stop()
    until(lambda: "leases" in meter.health()[1])
    api.put("pods", recorded("running", uid="x"), "ADDED")
    api.start()
    until(lambda: {row.pod_uid for row in meter.rows()} == {"x"})
    until(lambda: meter.health() == (200, ""))


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("TALLY_METER_PORT", "http", "TALLY_METER_PORT: expected a port, 0 to 65535, got http"),
        ("TALLY_METER_METRICS_OPEN", "yes", "TALLY_METER_METRICS_OPEN: expected 0 or 1, got yes"),
        ("TALLY_KUBELET_TLS", "/none", "TALLY_KUBELET_TLS: expected cluster, insecure or a file"),
        ("KUBECONFIG", "", "expected a pod's service account or a kubeconfig, got neither"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, api: ApiStandIn, variable: str, value: str, told: str
) -> None:
    api.write_kubeconfig(tmp_path / "config")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    environment |= {"KUBECONFIG": str(tmp_path / "config"), variable: value}
    command = [sys.executable, "-m", "tally.meter"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode in (1, 2)
    (line,) = done.stderr.strip().splitlines()
    assert told in line
