"""What the meter makes of what it is told and of what lists leave out."""

import json
from typing import Any

import pytest

from helpers import TESTS
from helpers.meter.told import created, made, node, price, recorded
from tally.costing.node_shares import share_nodes
from tally.kube.manifests import FINALIZER
from tally.kube.sampling import PodSample
from tally.meter.known import SETTLED_MICROSECONDS, Known
from tally.meter.making import Made, make

SECOND = 10**6
RUNNING = recorded("running", creationTimestamp="2026-11-24T10:00:00Z")
UID = RUNNING["metadata"]["uid"]
BEGAN = created(RUNNING)
SHORT = recorded("exit-3")  # 2 s of a tenth of a core and 64 MiB, on a node of 4 cores and 16 GiB
SHORT_BEGAN = created(SHORT)
SHORT_USD = 2 * 0.001 * (0.1 * 0.031611 + 0.0625 * 0.004237) / (4 * 0.031611 + 16 * 0.004237)


def knowing(*pods: Any, at: int = BEGAN + SECOND) -> Known:
    known = Known()
    known.see_node(node(), BEGAN, gone=False)
    for pod in pods:
        known.see_pod(pod, at, gone=False)
    return known


def open_row(known: Known, now: int, heard: int | None = None) -> Any:
    (row,) = (row for row in made(known, now, heard).usage if row.end_microseconds is None)
    return row


def test_what_lasts_is_made_every_fifteen_seconds_and_what_is_over_once() -> None:
    known = knowing(RUNNING)
    assert len(made(known, BEGAN + 5 * SECOND).usage) == 3
    assert made(known, BEGAN + 6 * SECOND).usage == []
    assert made(known, BEGAN + 19 * SECOND).usage == []
    row = open_row(known, BEGAN + 20 * SECOND)
    assert row.phase == "work"
    assert row.heartbeat_at_microseconds == BEGAN + 20 * SECOND


def test_nothing_is_known_to_last_for_longer_than_node_and_api_server_were_heard_of() -> None:
    known = knowing(RUNNING)
    made(known, BEGAN + 5 * SECOND)
    row = open_row(known, BEGAN + 300 * SECOND, heard=BEGAN + 40 * SECOND)
    assert row.heartbeat_at_microseconds == BEGAN + 40 * SECOND


def test_a_pod_missing_in_two_lists_ends_when_it_was_last_seen() -> None:
    known = knowing(RUNNING)
    made(known, BEGAN + 5 * SECOND)
    assert not known.listed("pods", [UID], BEGAN + 60 * SECOND)
    assert known.listed("pods", [], BEGAN + 120 * SECOND)  # look again soon
    assert open_row(known, BEGAN + 121 * SECOND)
    assert not known.listed("pods", [], BEGAN + 130 * SECOND)
    (row,) = made(known, BEGAN + 131 * SECOND).usage
    assert row.end_microseconds == BEGAN + 60 * SECOND


def test_an_end_that_is_told_after_a_list_left_it_out_is_the_end() -> None:
    known = knowing(RUNNING)
    made(known, BEGAN + 5 * SECOND)
    known.listed("pods", [UID], BEGAN + 60 * SECOND)
    known.listed("pods", [], BEGAN + 120 * SECOND)
    known.see_pod(RUNNING, BEGAN + 121 * SECOND, gone=True)
    known.listed("pods", [], BEGAN + 130 * SECOND)
    (row,) = made(known, BEGAN + 131 * SECOND).usage
    assert row.end_microseconds == BEGAN + 121 * SECOND


def test_a_pod_that_came_after_a_list_was_asked_for_is_not_missing_in_it() -> None:
    known = knowing(RUNNING, at=BEGAN + 100 * SECOND)
    for asked in (BEGAN + 90 * SECOND, BEGAN + 95 * SECOND):
        assert not known.listed("pods", [], asked)
    assert not known.pods[UID].gone


def test_a_pod_that_only_finalizers_hold_has_ended_and_is_let_go_once_it_is_written() -> None:
    held = recorded(
        "running", creationTimestamp="2026-11-24T10:00:00Z", finalizers=[FINALIZER],
        deletionTimestamp="2026-11-24T10:01:00Z", deletionGracePeriodSeconds=0,
    )  # fmt: skip
    known = knowing(RUNNING)
    made(known, BEGAN + 5 * SECOND)
    known.see_pod(held, BEGAN + 60 * SECOND, gone=False)
    (row,) = made(known, BEGAN + 61 * SECOND).usage
    assert row.end_microseconds == BEGAN + 60 * SECOND
    pod = known.pods[UID]
    assert not pod.waits_for_us
    pod.kept_microseconds = BEGAN + 62 * SECOND
    assert pod.waits_for_us
    known.forget(BEGAN + 62 * SECOND)
    assert UID in known.pods
    known.see_pod(held, BEGAN + 63 * SECOND, gone=True)
    known.forget(BEGAN + 63 * SECOND)
    assert UID not in known.pods


def test_an_end_that_was_missed_is_not_the_moment_at_which_it_is_heard_of() -> None:
    known = knowing(RUNNING)
    made(known, BEGAN + 5 * SECOND)
    known.see_pod(RUNNING, BEGAN + 600 * SECOND, gone=True)  # after ten minutes without any sign
    (row,) = made(known, BEGAN + 601 * SECOND).usage
    assert row.end_microseconds is not None
    assert row.end_microseconds < BEGAN + 10 * SECOND


def usd(found: Made) -> float:
    return sum(float(one.hardware_usd) for one in share_nodes(found.usage, found.nodes).charges)


@pytest.mark.parametrize("heard", [9, 0], ids=["API server answers", "API server was silent"])
def test_a_node_lasted_at_least_until_a_pod_on_it_ended(heard: int) -> None:
    known = Known()
    known.see_node(node(), SHORT_BEGAN, gone=False)
    made(known, SHORT_BEGAN)  # until then its Lease was renewed, and no later sign of it comes
    now = SHORT_BEGAN + 9 * SECOND
    known.see_pod(SHORT, now, gone=False)
    found = make(known, price, now, SHORT_BEGAN + heard * SECOND)
    (life,) = found.nodes
    assert life.heartbeat_at_microseconds == SHORT_BEGAN + 2 * SECOND
    assert life.end_microseconds is None
    assert usd(found) == pytest.approx(SHORT_USD, rel=1e-4)
    assert make(known, price, now + SECOND, now + SECOND).nodes == []


@pytest.mark.parametrize("later", [0, 1], ids=["told of together", "the node first"])
def test_a_node_that_is_gone_lasted_until_the_end_that_a_pod_on_it_tells(later: int) -> None:
    known = Known()
    known.see_node(node(), SHORT_BEGAN, gone=False)
    known.see_pod(recorded("running", **SHORT["metadata"]), SHORT_BEGAN, gone=False)
    made(known, SHORT_BEGAN)
    now = SHORT_BEGAN + 9 * SECOND
    known.see_node(node(), now, gone=True)  # its Lease was renewed for the last time as it began
    for _ in range(later):
        (life,) = make(known, price, now, now).nodes
        assert life.end_microseconds == SHORT_BEGAN
    known.see_pod(SHORT, now, gone=False)
    found = make(known, price, now + SECOND, now + SECOND)
    (life,) = found.nodes
    assert life.end_microseconds == life.heartbeat_at_microseconds == SHORT_BEGAN + 2 * SECOND
    rows = known.pods[SHORT["metadata"]["uid"]].rows
    assert usd(Made(list(rows), found.nodes, {})) == pytest.approx(SHORT_USD, rel=1e-4)


def test_a_node_that_is_gone_did_not_last_while_its_pod_went_on_on_the_one_after_it() -> None:
    known = knowing(RUNNING)
    made(known, BEGAN)
    known.see_node(node(), BEGAN + 5 * SECOND, gone=True)
    made(known, BEGAN + 5 * SECOND)
    known.see_node(node(uid="another"), BEGAN + 10 * SECOND, gone=False)
    over = {
        "terminated": {"startedAt": "2026-11-24T10:00:00Z", "finishedAt": "2026-11-24T10:01:00Z"}
    }
    status = {**RUNNING["status"], "phase": "Succeeded"}
    status["containerStatuses"] = [{**c, "state": over} for c in status["containerStatuses"]]
    known.see_pod({**RUNNING, "status": status}, BEGAN + 61 * SECOND, gone=False)
    lives = {life.node_uid: life for life in made(known, BEGAN + 61 * SECOND).nodes}
    assert lives["node-uid"].end_microseconds == BEGAN + 5 * SECOND
    assert lives["another"].end_microseconds is None


def test_a_pod_that_never_began_is_no_sign_of_its_node() -> None:
    known = knowing()
    made(known, BEGAN)
    pod = recorded("placed", creationTimestamp="2026-11-24T10:00:05Z")
    known.see_pod(pod, BEGAN + 9 * SECOND, gone=False)
    known.see_node(node(), BEGAN + 9 * SECOND, gone=True)
    (life,) = make(known, price, BEGAN + 9 * SECOND, BEGAN + 9 * SECOND).nodes
    assert life.end_microseconds == BEGAN


def test_a_node_that_vanishes_takes_its_pods_along() -> None:
    known = knowing(RUNNING)
    made(known, BEGAN + 5 * SECOND)
    known.heard("node-0", BEGAN + 30 * SECOND, BEGAN + 30 * SECOND)
    known.see_node(node(), BEGAN + 60 * SECOND, gone=True)
    after = made(known, BEGAN + 61 * SECOND)
    (life,) = after.nodes
    assert life.end_microseconds == BEGAN + 30 * SECOND
    (row,) = after.usage
    assert row.end_microseconds == BEGAN + 30 * SECOND
    known.see_pod(RUNNING, BEGAN + 90 * SECOND, gone=True)  # Kubernetes forgets it later
    assert made(known, BEGAN + 91 * SECOND).usage == []


@pytest.mark.parametrize("ahead_seconds", [-300, 0, 300])
def test_a_lease_is_a_sign_of_its_node_whatever_the_nodes_clock_says(ahead_seconds: int) -> None:
    known = knowing(RUNNING)
    for seconds in range(0, 60, 10):
        at = BEGAN + seconds * SECOND
        known.heard("node-0", at + ahead_seconds * SECOND, at + SECOND // 2)
    (there,) = known.nodes.values()
    assert there.heard_microseconds is not None
    assert 0 <= BEGAN + 51 * SECOND - there.heard_microseconds <= 11 * SECOND
    for again in (60, 90):  # told of again in a list, and not renewed
        known.heard("node-0", BEGAN + (50 + ahead_seconds) * SECOND, BEGAN + again * SECOND)
    assert there.heard_microseconds <= BEGAN + 51 * SECOND


def test_samples_of_a_node_whose_clock_is_behind_count() -> None:
    pod = json.loads((TESTS / "meter/timelines/clock-behind.json").read_text())["events"][1]
    known, meta = knowing(), pod["object"]["metadata"]
    began = created(pod["object"])
    known.see_pod(pod["object"], began + 3 * SECOND, gone=False)
    behind = began + (12 - 300) * SECOND
    known.sampled(PodSample(meta["namespace"], meta["name"], behind, 5.0, 1e6))
    (told,) = known.pods.values()
    assert told.samples is not None
    assert told.samples.at_microseconds == began + 12 * SECOND


def test_a_sample_of_an_earlier_pod_of_the_name_is_not_this_ones() -> None:
    known = knowing(RUNNING)
    meta = RUNNING["metadata"]
    for at, cores in ((BEGAN - SECOND, 1000.0), (BEGAN + 10 * SECOND, 2.0)):
        known.sampled(PodSample(meta["namespace"], meta["name"], at, cores, 1e6))
    samples = known.pods[UID].samples
    assert samples is not None
    assert samples.cpu_core_seconds == 2.0
    row = open_row(known, BEGAN + 10 * SECOND)
    assert row.cpu_used_core_seconds == pytest.approx(2.1, rel=0.1)


def test_what_has_long_been_over_takes_little_room() -> None:
    over = recorded("kfp-executor")
    known = knowing(over, at=created(over) + 60 * SECOND)
    now = created(over) + 61 * SECOND
    assert made(known, now).usage
    (pod,) = known.pods.values()
    pod.kept_microseconds = now
    known.forget(now + SETTLED_MICROSECONDS + SECOND)
    assert pod.object["spec"] == {}
    known.see_pod(over, now + SETTLED_MICROSECONDS + 2 * SECOND, gone=False)
    assert made(known, now + SETTLED_MICROSECONDS + 3 * SECOND).usage == []


def test_what_a_pod_is_said_to_have_used_is_never_taken_back() -> None:
    known, meta = knowing(RUNNING), RUNNING["metadata"]
    said = []
    for seconds, used in ((16, 0.2), (31, 15.2), (46, 15.3), (61, 15.4)):  # busy, then idle
        at = BEGAN + seconds * SECOND
        known.sampled(PodSample(meta["namespace"], meta["name"], at, used, 1e6))
        for later in (1, 14):
            made(known, at + later * SECOND)
            said.append(sum(row.cpu_used_core_seconds for row in known.pods[UID].rows))
    assert said == sorted(said)
