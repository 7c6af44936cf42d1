"""Whatever of it is away for a while, nothing that ran meanwhile is lost, and nothing is twice."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster import postgres
from helpers.cluster.metering import OWN, make_pod, sleep_until, step_pod, until_phase
from helpers.cluster.objects import every, path_of, until_true
from helpers.cluster.watched import Watched
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.usage import Usage
from tally.kube.cluster import Cluster, Refused

Make = Callable[..., Any]

OUTAGES = [
    pytest.param(20.0, id="20s"),
    pytest.param(120.0, id="two-minutes", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
]


def in_namespace(ledger: Ledger, namespace: str) -> list[Usage]:
    return [row for row in ledger.usage() if row.namespace == namespace]


@pytest.mark.parametrize("seconds", OUTAGES)
def test_pods_that_start_end_and_are_deleted_while_the_meter_is_dead_are_metered_to_the_second(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    template: Make,
    gang_of: Make,
    meter_of: Make,
    watched: Watched,
    seconds: float,
) -> None:
    meter = meter_of()
    meter.start()
    ends, lasts = (
        make_pod(cluster, namespace, step_pod(name, f"time.sleep({life})"))
        for name, life in (("ends", 5), ("lasts", seconds + 10))
    )
    gang, told = gang_of(spec(metered=True), template())
    gang.start(2)
    workers = set(told.until_started("0", "1").values())
    until_true(lambda: all(len(meter.rows(uid)) == 3 for uid in (ends, lasts, *workers)), 20)
    meter.kill()
    back = time.monotonic() + seconds
    comes = make_pod(cluster, namespace, step_pod("comes", "time.sleep(2)"))
    until_phase(cluster, namespace, "comes", "Succeeded")
    gang.resize(1)
    told.until(lambda c: c.worker == "1" and c.state == "ended", 15)
    gang.resize(2)
    again = told.until(
        lambda c: c.worker == "1" and c.state == "started" and c.uid not in workers, 30
    )
    gang.stop(10)
    held = {pod["metadata"]["uid"] for pod in every(cluster, "Pod", namespace)}
    assert held == workers | {again.uid}  # their finalizers keep them for the meter
    sleep_until(back)
    meter.start()
    uids = {ends, lasts, comes, again.uid, *workers}
    closed = meter.until_closed(*uids, seconds=40)
    for uid in uids:
        watched.check(uid, closed[uid])
    until_true(lambda: not every(cluster, "Pod", namespace), 15)
    with open_ledger(meter.ledger_url) as ledger:
        assert len(in_namespace(ledger, namespace)) == 3 * len(uids)
        (real,) = (node for node in ledger.nodes() if node.machine_type == "metered")
        assert real.end_microseconds is None
    meter.stop()


def test_a_pod_without_finalizer_that_vanished_meanwhile_ends_when_it_was_last_known(
    cluster: Cluster, namespace: str, meter_of: Make
) -> None:
    meter = meter_of()
    meter.start()
    uid = make_pod(cluster, namespace, step_pod("vanishes", "time.sleep(600)"))
    until_true(lambda: len(meter.rows(uid)) == 3, 30)
    meter.kill()
    killed = time.time()
    heard = meter.rows(uid)[-1].heartbeat_at_microseconds
    cluster.request("DELETE", f"{path_of('Pod', namespace)}/vanishes")
    until_true(lambda: not every(cluster, "Pod", namespace, "pipeline/runid"), 30)
    meter.start()
    (*_, work) = meter.until_closed(uid)[uid]
    assert work.end_microseconds == heard
    assert killed - 30 < heard / 1e6 <= killed + 1
    meter.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_api_server_can_be_restarted(
    cluster: Cluster, namespace: str, meter_of: Make, watched: Watched
) -> None:
    found = subprocess.run(
        ["pgrep", "-f", f"^{OWN}/bin/kube-[^ ]+ apiserver "], capture_output=True, text=True
    )
    if not found.stdout:
        pytest.skip("the cluster's API server is not this machine's to restart")
    server = Path("/proc", found.stdout.strip())
    command = (server / "cmdline").read_text().rstrip("\0").split("\0")
    folder = (server / "cwd").resolve()
    meter = meter_of()
    meter.start()
    uids = [
        make_pod(cluster, namespace, step_pod(f"step-{life}", f"time.sleep({life})"))
        for life in (3, 20)
    ]
    until_true(lambda: all(len(meter.rows(uid)) == 3 for uid in uids), 30)
    os.kill(int(server.name), 9)
    until_true(lambda: "API server" in meter.problems(), 60)
    with (folder / "log/apiserver.log").open("a") as log:
        subprocess.Popen(command, cwd=folder, start_new_session=True, stdout=log, stderr=log)
    new = until_true(lambda: _made(cluster, namespace), 60)
    closed = meter.until_closed(*uids, new, seconds=150)  # its node has to be ready again
    for uid in (*uids, new):
        watched.check(uid, closed[uid])
    until_true(lambda: meter.health()["code"] == 200, 60)
    meter.stop()


def _made(cluster: Cluster, namespace: str) -> str:
    try:
        return make_pod(cluster, namespace, step_pod("after", "time.sleep(1)"))
    except Refused:
        return ""  # it is not back yet


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB: SQLite lets its log grow to 4."""
    if os.getuid():
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_told_of_and_made_up_for(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    template: Make,
    gang_of: Make,
    meter_of: Make,
    watched: Watched,
    small_disk: Path,
) -> None:
    meter = meter_of(f"sqlite:///{small_disk}/ledger.db")
    meter.start()
    with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(b"x" * 4096)
    uid = make_pod(cluster, namespace, step_pod("unwritten", "time.sleep(2)"))
    gang, told = gang_of(spec(metered=True), template())
    gang.start(1)
    worker = told.until_started("0")["0"]
    until_true(lambda: "expected room to write" in meter.problems(), 60)
    assert meter.health()["code"] == 503
    gang.stop(10)
    until_phase(cluster, namespace, "unwritten", "Succeeded")
    (held,) = every(cluster, "Pod", namespace)
    assert held["metadata"]["uid"] == worker  # it stays until the ledger has it
    (small_disk / "filler").unlink()
    closed = meter.until_closed(uid, worker, seconds=60)
    for one in (uid, worker):
        watched.check(one, closed[one])
    until_true(lambda: meter.health()["code"] == 200, 30)
    until_true(lambda: not every(cluster, "Pod", namespace), 15)
    meter.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    if not postgres.program("postgres"):
        pytest.skip("PostgreSQL is missing: make test-deps")
    yield from postgres.postgresql(tmp_path / "postgres")


def test_two_meters_on_one_postgresql_count_nothing_twice(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    template: Make,
    gang_of: Make,
    meter_of: Make,
    watched: Watched,
    database: str,
) -> None:
    meters = [meter_of(database), meter_of(database)]
    for meter in meters:
        meter.start()
    gang, told = gang_of(spec(metered=True), template())
    gang.start(2)
    told.until_started("0", "1")
    steps = [
        make_pod(cluster, namespace, step_pod(f"step-{n}", f"time.sleep({4 * n})"))
        for n in range(4)
    ]
    until_phase(cluster, namespace, "step-1", "Succeeded")
    meters[0].kill()
    gang.stop(10)
    meters[0].start()
    uids = {*watched.uids(), *steps}
    closed = meters[0].until_closed(*uids, seconds=60)
    for uid in uids:
        watched.check(uid, closed[uid])
    until_true(lambda: not every(cluster, "Pod", namespace), 15)
    with open_ledger(database) as ledger:
        assert len(in_namespace(ledger, namespace)) == 3 * len(uids)  # queue, startup, work
    for meter in meters:
        assert meter.health()["code"] == 200, meter.problems()
        meter.stop()
