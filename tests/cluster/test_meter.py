"""The meter on a real cluster: the ledger agrees with what the test saw, whatever happened."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster.metering import (
    fake_node,
    lease_microseconds,
    log_of_main,
    make_pod,
    pod_now,
    run_of,
    step_pod,
    until_phase,
)
from helpers.cluster.objects import delete, every, until_true
from helpers.cluster.watched import Watched
from tally.costing.ledger import open_ledger
from tally.costing.past_lives import past_lives
from tally.costing.usage import Usage
from tally.errors import SpecError
from tally.kube.cluster import Cluster

Make = Callable[..., Any]

FAKETIME = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), "")


def test_pods_of_a_pipeline_are_metered_to_the_second(
    cluster: Cluster, namespace: str, meter_of: Make, watched: Watched
) -> None:
    meter = meter_of()
    meter.start()
    uids = [
        make_pod(cluster, namespace, step_pod(f"step-{n}", f"time.sleep({0.3 + n})"))
        for n in range(4)
    ]
    for number, uid in enumerate(uids):
        until_phase(cluster, namespace, f"step-{number}", "Succeeded")
        rows = meter.until_closed(uid)[uid]
        watched.check(uid, rows)
        began, ended = map(float, log_of_main(cluster, namespace, f"step-{number}").split())
        work = rows[-1]
        assert abs((work.end_microseconds - work.start_microseconds) / 1e6 - (ended - began)) < 2
        assert {row.run_id for row in rows} == {run_of(namespace)}
        assert (work.step, work.team, work.source) == ("measure", namespace, "pod")
        assert (work.machine_type, work.price_usd_per_hour) == ("metered", 3.6)
        assert abs(work.cpu_request_cores - 0.11) < 1e-9
    assert meter.health()["code"] == 200, meter.problems()
    meter.stop()


def test_a_gang_that_grows_and_shrinks_is_metered_to_the_second_and_let_go(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    template: Make,
    gang_of: Make,
    meter_of: Make,
    watched: Watched,
) -> None:
    meter = meter_of()
    meter.start()
    gang, told = gang_of(spec(metered=True), template())
    gang.start(2)
    told.until_started("0", "1")
    gang.resize(3)
    told.until_started("2")
    gang.resize(1)
    told.until(lambda c: c.worker == "2" and c.state == "ended", 15)
    gang.stop(10)
    until_true(lambda: not every(cluster, "Pod", namespace), 20)
    uids = watched.uids()
    assert len(uids) == 3
    closed = meter.until_closed(*uids)
    for uid in uids:
        watched.check(uid, closed[uid])
    assert {rows[-1].worker for rows in closed.values()} == {"0", "1", "2"}
    meter.stop()


def test_pods_that_come_and_go_between_two_looks_at_the_kubelet_are_there_exactly(
    cluster: Cluster, namespace: str, meter_of: Make, watched: Watched
) -> None:
    meter = meter_of()
    meter.start()
    uids = [make_pod(cluster, namespace, step_pod(f"short-{n}", "pass")) for n in range(6)]
    closed = meter.until_closed(*uids, seconds=60)
    for uid in uids:
        watched.check(uid, closed[uid])
        assert closed[uid][-1].cpu_request_cores == pytest.approx(0.11)
    meter.stop()


def test_cpu_and_memory_are_what_the_pod_itself_says_it_used(
    cluster: Cluster, namespace: str, meter_of: Make
) -> None:
    meter = meter_of()
    meter.start()
    burn = f"x = b'x' * {32 << 20}\nwhile time.time() < b + 50: pass\nprint(time.process_time())"
    uid = make_pod(cluster, namespace, step_pod("burns", f"exec({burn!r})"))
    until_phase(cluster, namespace, "burns", "Succeeded")
    rows = meter.until_closed(uid)[uid]
    used, *_ = map(float, log_of_main(cluster, namespace, "burns").split())
    assert sum(row.cpu_used_core_seconds for row in rows) == pytest.approx(used, rel=0.15)
    held = rows[-1].memory_used_byte_seconds / 50
    assert 32 << 20 < held < 80 << 20
    assert 32 << 20 < rows[-1].memory_peak_bytes < 96 << 20
    with open_ledger(meter.ledger_url) as ledger:
        (life,) = past_lives(ledger, rows[-1].pipeline, namespace, 0)
    assert (life.step, life.is_worker, life.oom_limit_bytes) == ("measure", False, 0)
    assert life.memory_peak_bytes == rows[-1].memory_peak_bytes
    assert life.cpu_core_seconds == pytest.approx(used, rel=0.15)
    meter.stop()


def test_a_step_that_is_killed_for_its_memory_is_an_event_of_its_run_with_the_limit(
    cluster: Cluster, namespace: str, meter_of: Make
) -> None:
    meter = meter_of()
    meter.start()
    uid = make_pod(cluster, namespace, step_pod("eats", f"x = b'x' * {256 << 20}"))

    def killed() -> bool:
        pod = pod_now(cluster, namespace, "eats") or {"status": {}}
        states = {c["name"]: c["state"] for c in pod["status"].get("containerStatuses", [])}
        return states.get("main", {}).get("terminated", {}).get("reason") == "OOMKilled"

    until_true(killed, 30)
    delete(cluster, "Pod", "eats", namespace)  # what waits for it would wait for ever
    (*_, work) = meter.until_closed(uid)[uid]
    with open_ledger(meter.ledger_url) as ledger:
        (event,) = until_true(lambda: ledger.events(work.run_id), 20)
        (life,) = past_lives(ledger, work.pipeline, namespace, 0)
    assert (event.kind, event.step) == ("oom", "measure")
    assert event.facts["memory_limit_bytes"] == life.oom_limit_bytes == 64 << 20
    meter.stop()


def test_a_node_that_vanishes_ends_with_its_pods_when_it_was_last_heard_of(
    cluster: Cluster, namespace: str, meter_of: Make
) -> None:
    meter = meter_of()
    meter.start()
    with fake_node(cluster) as node:
        pod = step_pod("on-it", "pass")
        pod["spec"] |= {"nodeName": node, "tolerations": [{"operator": "Exists"}]}
        uid = make_pod(cluster, namespace, pod)
        until_phase(cluster, namespace, "on-it", "Running")
        until_true(lambda: len(meter.rows(uid)) == 3, 20)
        heard = lease_microseconds(cluster, node)
        renewed = until_true(lambda: (at := lease_microseconds(cluster, node)) > heard and at, 60)
        delete(cluster, "Node", node)
        (*_, work) = meter.until_closed(uid)[uid]
    assert abs(work.end_microseconds - renewed) <= 1_000_000
    with open_ledger(meter.ledger_url) as ledger:
        (life,) = (life for life in ledger.nodes() if life.name == node)
    assert life.end_microseconds == work.end_microseconds
    meter.stop()


@pytest.mark.skipif(not FAKETIME, reason="libfaketime is missing: make test-deps")
def test_a_meter_whose_clock_is_set_five_minutes_off_writes_the_same(
    cluster: Cluster, namespace: str, meter_of: Make, watched: Watched, tmp_path: Path
) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    meter = meter_of(
        LD_PRELOAD=FAKETIME,
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    meter.start()
    uids = [make_pod(cluster, namespace, step_pod("first", "time.sleep(20)"))]
    for number, step in enumerate(("+300\n", "-300\n", "+0\n")):
        offset.write_text(step)
        uids.append(make_pod(cluster, namespace, step_pod(f"step-{number}", "time.sleep(1)")))
        meter.until_closed(uids[-1], seconds=40)
        until_true(lambda: lasting(meter.rows(uids[0])), 20)
    assert "+300" not in offset.read_text()
    closed = meter.until_closed(*uids, seconds=40)
    for uid in uids:
        watched.check(uid, closed[uid])
    meter.stop()


def lasting(rows: list[Usage]) -> bool:
    """Whether an open row is known to last until about now, not until five minutes from it."""
    (*_, last) = rows
    return (
        last.end_microseconds is not None
        or abs(last.heartbeat_at_microseconds / 1e6 - time.time()) < 30
    )


def test_what_had_no_price_gets_the_one_that_the_catalogue_gets(
    cluster: Cluster, namespace: str, meter_of: Make, tmp_path: Path
) -> None:
    meter = meter_of()
    meter.start()
    with fake_node(cluster, machine_type="unheard-of") as node:
        pod = step_pod("unpriced", "pass")
        pod["spec"] |= {"nodeName": node, "tolerations": [{"operator": "Exists"}]}
        uid = make_pod(cluster, namespace, pod)
        until_phase(cluster, namespace, "unpriced", "Running")
        until_true(lambda: len(meter.rows(uid)) == 3, 20)
        assert meter.rows(uid)[-1].is_unpriced
        assert "unheard-of" in meter.problems()
        with open_ledger(meter.ledger_url) as ledger, pytest.raises(SpecError, match="unheard-of"):
            ledger.bill(meter.rows(uid)[-1].run_id)
        delete(cluster, "Pod", "unpriced", namespace)
        meter.until_closed(uid)
        own = tmp_path / "machines/own.yaml"
        text = own.read_text().replace("metered:", "unheard-of:").partition("machine_types:\n")[2]
        own.write_text(own.read_text() + text)
        until_true(lambda: meter.health()["code"] == 200, 40)
        assert [row.price_usd_per_hour for row in meter.rows(uid)] == [0.0, 3.6, 3.6]
    meter.stop()
