"""What pods that a real cluster showed are billed for."""

import operator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.kube.pod_lives import NODE, at, clock_time, rows_of, spans
from helpers.kube.recorded import recorded, with_status
from tally.costing.ledger import open_ledger
from tally.costing.merge import newness
from tally.kube.quantities import microseconds
from tally.kube.sampling import Used

pytestmark = pytest.mark.exact

QUEUED = ("queue", 0, 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kfp-executor", [QUEUED, ("startup", 0, 2), ("work", 2, 4)]),
        ("kfp-driver", [QUEUED, ("startup", 0, 4)]),
        ("kfp-dag-driver", [QUEUED, ("startup", 0, 4)]),
        ("deleted", [QUEUED, ("startup", 0, 1), ("work", 1, 4)]),
        ("evicted", [QUEUED, ("startup", 0, 1), ("work", 1, 4)]),
        ("exit-3", [QUEUED, ("startup", 0, 2), ("work", 2, 2)]),
        ("exit-75", [QUEUED, ("startup", 0, 3), ("work", 3, 3)]),
        ("killed", [QUEUED, ("startup", 0, 1), ("work", 1, 2)]),
        ("oom", [QUEUED, ("startup", 0, 2), ("work", 2, 2)]),
        ("running", [QUEUED, ("startup", 0, 1), ("work", 1, None)]),
        ("placed", [QUEUED, ("startup", 0, None)]),
        ("no-image", [QUEUED, ("startup", 0, None)]),
        ("back-off", [QUEUED, ("startup", 0, None)]),
        ("no-secret", [QUEUED, ("startup", 0, None)]),
        ("unschedulable", [("queue", 0, None)]),
    ],
)
def test_a_real_pod_waits_starts_and_works(name: str, expected: list[Any]) -> None:
    pod = recorded(name)
    rows = rows_of(pod, 60)
    assert spans(pod, rows) == expected
    for row in rows:
        assert (row.source, row.container) == ("pod", "pod")
        assert row.pod_uid == pod["metadata"]["uid"]
        assert row.team == row.namespace == pod["metadata"]["namespace"]


@pytest.mark.parametrize("name", ["kfp-executor", "evicted", "running", "no-image"])
def test_the_same_pod_again_gives_the_same_rows(name: str) -> None:
    pod = recorded(name)
    first = rows_of(pod, 60)
    assert rows_of(pod, 60, before=first) == first


def test_a_row_has_the_request_and_the_nodes_price_and_a_wait_costs_nothing() -> None:
    queue, startup, work = rows_of(recorded("kfp-executor"), 60)
    for row in (startup, work):
        assert (row.cpu_request_cores, row.memory_request_bytes) == (0.1, 256 * 2**20)
        assert (row.node_uid, row.machine_type) == ("node-uid", "n2-standard-4")
        assert (row.price_usd_per_hour, row.catalogue_version) == (0.25, "2026-11")
    assert (queue.node_uid, queue.price_usd_per_hour, queue.cpu_request_cores) == ("", 0.0, 0.0)
    assert not queue.is_unpriced


def test_a_node_without_a_price_makes_rows_without_one_until_it_is_known() -> None:
    pod = recorded("running")
    bare = replace(NODE, price_usd_per_hour=0.0, catalogue_version="")
    unpriced = rows_of(pod, 10, node=bare)
    assert [row.is_unpriced for row in unpriced] == [False, True, True]
    priced = rows_of(pod, 20, before=unpriced)
    assert [row.price_usd_per_hour for row in priced] == [0.0, 0.25, 0.25]
    assert all(map(operator.gt, map(newness, priced[1:]), map(newness, unpriced[1:])))


def test_a_pod_that_is_seen_before_its_node_gets_its_machine_later() -> None:
    pod = recorded("deleted")
    blind = rows_of(pod, 10, node=None)
    assert [(row.node_uid, row.is_unpriced) for row in blind[1:]] == [("", True)] * 2
    seeing = rows_of(pod, 10, before=blind)
    assert [row.node_uid for row in seeing[1:]] == ["node-uid"] * 2
    assert all(map(operator.gt, map(newness, seeing[1:]), map(newness, blind[1:])))


def test_a_row_keeps_the_price_of_its_start_and_one_without_its_node_all_that_it_had() -> None:
    pod = recorded("running")
    pod["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] = "1"
    shared = rows_of(pod, 10, accelerator_clients=4)
    assert (shared[-1].accelerator, shared[-1].accelerator_count) == ("nvidia-l4", 0.25)
    dearer = replace(NODE, price_usd_per_hour=9.0, catalogue_version="2027-01")
    later = rows_of(pod, 20, node=dearer, before=shared, accelerator_clients=4)
    assert [row.price_usd_per_hour for row in later[1:]] == [0.25, 0.25]
    gone = rows_of(pod, 30, node=None, before=later, gone=True)
    kept = (gone[-1].node_uid, gone[-1].price_usd_per_hour, gone[-1].accelerator_count)
    assert kept == ("node-uid", 0.25, 0.25)


def test_an_open_row_lasts_as_long_as_its_node_was_heard_of() -> None:
    pod = recorded("running")
    silent = replace(NODE, heartbeat_at_microseconds=at(pod, 25))
    first = rows_of(pod, 60, node=silent)
    assert first[-1].stop_microseconds == at(pod, 25)
    assert rows_of(pod, 90, node=silent, before=first) == first
    assert rows_of(pod, 90, before=first)[-1].stop_microseconds == at(pod, 90)


def test_what_was_used_is_shared_by_phases_and_adds_up() -> None:
    pod = recorded("running")
    starting = with_status(pod, containerStatuses=None)
    first = rows_of(starting, 1, used=Used(2.0, 20.0))
    assert [row.cpu_used_core_seconds for row in first] == [0.0, 2.0]
    second = rows_of(pod, 30, used=Used(12.0, 90.0), before=first)
    assert [row.cpu_used_core_seconds for row in second] == [0.0, 2.0, 10.0]
    assert [row.memory_used_byte_seconds for row in second] == [0.0, 20.0, 70.0]
    unknown = rows_of(pod, 60, used=None, before=second)
    assert [row.cpu_used_core_seconds for row in unknown] == [0.0, 2.0, 10.0]
    less = rows_of(pod, 60, used=Used(1.5, 25.0), before=second)  # the last was an estimate
    assert [row.cpu_used_core_seconds for row in less] == [0.0, 1.5, 0.0]
    assert [row.memory_used_byte_seconds for row in less] == [0.0, 20.0, 5.0]
    driver = rows_of(recorded("kfp-driver"), 30, used=Used(3.0, 3.0))
    assert [row.cpu_used_core_seconds for row in driver] == [0.0, 3.0]


def test_a_peak_stays_when_the_meter_has_forgotten_what_it_saw() -> None:
    pod = recorded("running")
    first = rows_of(pod, 30, used=Used(12.0, 90.0, memory_peak_bytes=700))
    again = rows_of(pod, 60, used=Used(20.0, 95.0, memory_peak_bytes=300), before=first)
    assert [row.memory_peak_bytes for row in again] == [0, 0, 700]
    higher = rows_of(pod, 90, used=Used(30.0, 99.0, memory_peak_bytes=800), before=again)
    assert [row.memory_peak_bytes for row in higher] == [0, 0, 800]


def test_the_first_start_is_kept_when_the_pod_no_longer_tells_it() -> None:
    pod = recorded("running")
    first = rows_of(pod, 30)
    ended = {"startedAt": "2026-11-24T02:23:00Z", "finishedAt": "2026-11-24T02:24:00Z"}
    again = {
        "name": "worker",
        "state": {"running": {"startedAt": "2026-11-24T02:25:00Z"}},
        "lastState": {"terminated": ended},
    }
    restarted = with_status(pod, containerStatuses=[again])
    assert spans(pod, rows_of(restarted, 300, before=first))[-1] == ("work", 1, None)
    # who never saw it takes the earliest start that is told
    assert spans(pod, rows_of(restarted, 300))[-1] == ("work", 107, None)


@pytest.mark.parametrize(
    ("containers", "annotated", "start"),
    [
        (("wait", "main", "worker"), "worker", 3),
        (("wait", "main", "worker"), "other", 2),
        (("wait", "worker"), None, 3),
        (("wait", "web"), None, 1),
    ],
    ids=["annotated", "main", "worker", "the earliest"],
)
def test_work_begins_with_the_main_container(
    containers: tuple[str, ...], annotated: str | None, start: int
) -> None:
    pod, starts = recorded("running"), {"wait": 1, "main": 2, "worker": 3, "web": 4}
    pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] = annotated
    pod["spec"]["containers"] = [{"name": name} for name in containers]
    own = [
        {"name": name, "state": {"running": {"startedAt": clock_time(at(pod, starts[name]))}}}
        for name in containers
    ]
    assert spans(pod, rows_of(with_status(pod, containerStatuses=own), 60))[-1][1] == start


def test_a_pod_that_loses_its_conditions_keeps_when_it_was_placed() -> None:
    pod = recorded("placed")
    first = rows_of(pod, 5)
    status = {"phase": "Failed", "reason": "OutOfcpu", "startTime": clock_time(at(pod, 3))}
    later = rows_of({**pod, "status": status}, 9, before=first)
    assert spans(pod, later) == [("queue", 0, 0), ("startup", 0, 3)]


def test_a_label_that_is_changed_later_moves_no_key() -> None:
    pod = recorded("running")
    first = rows_of(pod, 30)
    pod["metadata"]["labels"]["tally.dev/attempt"] = "7"
    assert [row.usage_id for row in rows_of(pod, 60, before=first)] == [
        row.usage_id for row in first
    ]


def test_rows_that_others_wrote_of_the_pod_are_passed_over() -> None:
    pod = recorded("deleted")
    rows = rows_of(pod, 60)
    told = replace(rows[-1], source="conductor", start_microseconds=at(pod, 2))
    assert rows_of(pod, 60, before=[told]) == rows


def test_times_that_kubernetes_has_cut_never_make_a_length_below_zero() -> None:
    pod = recorded("killed")
    scheduled = {"type": "PodScheduled", "status": "True",
                 "lastTransitionTime": "2026-11-24T02:21:39Z"}  # fmt: skip
    rows = rows_of(with_status(pod, conditions=[scheduled]), 60)  # started at :37, ended at :38
    assert spans(pod, rows) == [("queue", 0, 3), ("startup", 3, 3), ("work", 3, 3)]


def test_the_ledger_takes_what_a_pod_tells_in_place_of_what_was_guessed(tmp_path: Path) -> None:
    pod = recorded("deleted")
    running = {"running": {"startedAt": "2026-11-24T02:21:28Z"}}
    lost = with_status(
        pod, phase="Failed", conditions=pod["status"]["conditions"][-1:],
        containerStatuses=[{"name": "worker", "state": running}],
    )  # fmt: skip
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.write_usage(rows_of(lost, 50))
        guessed = ledger.usage_of_pods([pod["metadata"]["uid"]])
        assert max(row.stop_microseconds for row in guessed) == at(pod, 50)
        ledger.write_usage(rows_of(pod, 60, before=guessed))
        told = ledger.usage_of_pods([pod["metadata"]["uid"]])
        assert max(row.stop_microseconds for row in told) == at(pod, 4)
        assert sorted(row.phase for row in told) == ["queue", "startup", "work"]


def test_a_pod_that_the_kubelet_turned_away_held_nothing() -> None:
    pod = recorded("placed")
    status = {"phase": "Failed", "reason": "OutOfcpu", "startTime": "2026-11-24T02:22:09Z"}
    rows = rows_of({**pod, "status": status}, 500)
    assert spans(pod, rows) == [("queue", 0, 3), ("startup", 3, 3)]


def test_the_time_at_which_a_pod_was_created_is_where_it_begins() -> None:
    pod = recorded("unschedulable")
    created = microseconds(pod["metadata"]["creationTimestamp"])
    assert rows_of(pod, 5)[0].start_microseconds == created
