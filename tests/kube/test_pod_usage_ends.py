"""When a pod lets go of its node, also where it does not say so itself."""

from dataclasses import replace
from typing import Any

import pytest

from helpers.kube.pod_lives import NODE, at, clock_time, rows_of, spans
from helpers.kube.recorded import recorded, with_status

pytestmark = pytest.mark.exact


def state(pod: dict[str, Any], started: float | None, finished: float | None) -> dict[str, Any]:
    if finished is None:
        return {"running": {"startedAt": clock_time(at(pod, started or 0))}}
    start = None if started is None else clock_time(at(pod, started))
    return {"terminated": {"exitCode": 1, "startedAt": start,
                           "finishedAt": clock_time(at(pod, finished))}}  # fmt: skip


def condition(pod: dict[str, Any], kind: str, value: str, seconds: float) -> dict[str, Any]:
    when = clock_time(at(pod, seconds))
    return {"type": kind, "status": value, "lastTransitionTime": when}


def end_of(pod: dict[str, Any], seconds: float, **others: Any) -> tuple[str, float | None]:
    phase, _, end = spans(pod, rows_of(pod, seconds, **others))[-1]
    return phase, end


@pytest.fixture
def pod() -> dict[str, Any]:
    """Running since its first second."""
    return recorded("running")


def test_a_sidecar_holds_the_node_to_its_own_end(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"].append({"name": "wait"})
    both = [{"name": "worker", "state": state(pod, 1, 10)},
            {"name": "wait", "state": state(pod, 1, None)}]  # fmt: skip
    held = with_status(pod, phase="Running", containerStatuses=both)
    assert end_of(held, 30) == ("work", None)
    both[1]["state"] = state(pod, 1, 15)
    assert end_of(with_status(pod, phase="Running", containerStatuses=both), 30) == ("work", 15)


def test_a_sidecar_among_the_init_containers_does_so_too(pod: dict[str, Any]) -> None:
    side = {"name": "side", "state": state(pod, 0, None)}
    own = [{"name": "worker", "state": state(pod, 1, 10)}]
    held = with_status(pod, containerStatuses=own, initContainerStatuses=[side])
    assert end_of(held, 30) == ("work", None)


@pytest.mark.parametrize(
    ("policy", "exit_code", "deleted", "end"),
    [
        ("Always", 0, False, None),
        ("Always", 0, True, 10),
        ("OnFailure", 1, False, None),
        ("OnFailure", 0, False, 10),
        ("Never", 1, False, 10),
    ],
)
def test_a_container_that_will_run_again_has_not_ended_its_pod(
    pod: dict[str, Any], policy: str, exit_code: int, deleted: bool, end: int | None
) -> None:
    pod["spec"]["restartPolicy"] = policy
    if deleted:
        pod["metadata"]["deletionTimestamp"] = clock_time(at(pod, 40))
    ended = state(pod, 1, 10)
    ended["terminated"]["exitCode"] = exit_code
    own = [{"name": "worker", "state": ended}]
    assert end_of(with_status(pod, containerStatuses=own), 30) == ("work", end)


@pytest.mark.parametrize(
    ("own", "end"),
    [
        ({}, 10),
        ({"restartPolicyRules": [{"action": "Restart",
                                  "exitCodes": {"operator": "In", "values": [1, 42]}}]}, None),
        ({"restartPolicyRules": [{"action": "Restart",
                                  "exitCodes": {"operator": "In", "values": [42]}}]}, 10),
        ({"restartPolicyRules": [{"action": "Restart",
                                  "exitCodes": {"operator": "NotIn", "values": [42]}}]}, None),
        ({"restartPolicyRules": [{"action": "RestartAllContainers",
                                  "exitCodes": {"operator": "In", "values": [1]}}]}, None),
        ({"restartPolicy": "OnFailure"}, None),
    ],
    ids=["none", "rule", "another code's", "all but", "all containers", "own policy"],
)  # fmt: skip
def test_a_containers_own_rules_come_before_its_pods_policy(
    pod: dict[str, Any], own: dict[str, Any], end: float | None
) -> None:
    pod["spec"]["restartPolicy"] = "Never"
    pod["spec"]["containers"][0].update(own)
    name = pod["spec"]["containers"][0]["name"]
    ended = [{"name": name, "state": state(pod, 1, 10)}]  # with exit code 1
    waiting = with_status(pod, phase="Running", containerStatuses=ended)
    assert end_of(waiting, 30) == ("work", end)
    over = with_status(pod, phase="Failed", containerStatuses=ended)
    assert end_of(over, 30) == ("work", 10)


def test_a_pod_that_is_being_deleted_holds_its_node_until_it_has_ended(pod: dict[str, Any]) -> None:
    pod["metadata"]["deletionTimestamp"] = clock_time(at(pod, 10))
    assert end_of(pod, 3600) == ("work", None)
    own = [{"name": "worker", "state": state(pod, 1, 3601)}]
    assert end_of(with_status(pod, containerStatuses=own), 3610) == ("work", 3601)


def test_a_pod_that_went_without_a_word_ends_when_it_went(pod: dict[str, Any]) -> None:
    gone = rows_of(pod, 42.5, gone=True)
    assert spans(pod, gone)[-1] == ("work", 1, 42.5)
    assert rows_of(pod, 99, gone=True, before=gone) == gone  # not each time it is looked at
    early = rows_of(pod, -5, gone=True)
    assert spans(pod, early)[-1] == ("work", 1, 1)


def test_a_pod_that_never_got_a_node_waited_until_it_went() -> None:
    pod = recorded("unschedulable")
    assert spans(pod, rows_of(pod, 33, gone=True)) == [("queue", 0, 33)]


@pytest.mark.parametrize("name", ["no-image", "back-off", "no-secret", "placed"])
def test_a_container_that_never_started_leaves_a_startup_alone(name: str) -> None:
    pod = recorded(name)
    assert end_of(pod, 300, gone=True) == ("startup", 300)


def test_a_container_that_could_not_be_started_has_not_worked() -> None:
    pod = recorded("no-image")
    failed = {"terminated": {"reason": "StartError", "exitCode": 128,
                             "startedAt": "1970-01-01T00:00:00Z",
                             "finishedAt": clock_time(at(pod, 9))}}  # fmt: skip
    own = [{"name": "worker", "state": failed}]
    assert end_of(with_status(pod, phase="Failed", containerStatuses=own), 60) == ("startup", 9)


def test_a_deleted_pod_whose_image_never_came_held_its_node_until_its_sandbox_went() -> None:
    pod = recorded("no-image")
    unknown = {"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137,
                              "startedAt": None, "finishedAt": None}}  # fmt: skip
    init = {"name": "init", "state": state(pod, 0, 1)}
    ready = condition(pod, "Ready", "False", 2)  # it never was
    sandbox = condition(pod, "PodReadyToStartContainers", "False", 240)
    scheduled = condition(pod, "PodScheduled", "True", 0)
    failed = with_status(
        pod,
        phase="Failed",
        podIP="192.0.2.7",
        conditions=[ready, sandbox, scheduled],
        containerStatuses=[{"name": "worker", "state": unknown}],
        initContainerStatuses=[init],
    )
    assert end_of(failed, 900) == ("startup", 240)
    silent = with_status(failed, conditions=[ready, scheduled])
    assert end_of(silent, 250, gone=True) == ("startup", 250)


def test_a_failed_init_container_ends_its_pod() -> None:
    pod = recorded("no-image")
    waiting = {"waiting": {"reason": "PodInitializing"}}
    failed = with_status(
        pod,
        phase="Failed",
        containerStatuses=[{"name": "worker", "state": waiting}],
        initContainerStatuses=[{"name": "init", "state": state(pod, 1, 7)}],
    )
    assert end_of(failed, 60) == ("startup", 7)


@pytest.mark.parametrize(
    ("conditions", "end"),
    [
        ([("DisruptionTarget", "True", 20), ("Ready", "False", 26)], 26),
        ([("DisruptionTarget", "True", 20)], 20),
        ([("Ready", "False", 12)], 12),
        ([("Ready", "False", 1), ("DisruptionTarget", "True", 0)], 50),
        ([], 50),
    ],
    ids=["evicted", "swept up", "not ready", "never ready", "no word"],
)
def test_a_failed_pod_whose_containers_say_nothing_ends_by_its_conditions(
    pod: dict[str, Any], conditions: list[tuple[str, str, int]], end: int
) -> None:
    told = [condition(pod, *one) for one in [("PodScheduled", "True", 0), *conditions]]
    failed = with_status(pod, phase="Failed", reason="Evicted", conditions=told)
    first = rows_of(failed, 50)
    assert spans(pod, first)[-1] == ("work", 1, end)
    assert rows_of(failed, 90, before=first) == first


def test_a_pod_whose_status_was_taken_away_keeps_the_work_that_was_seen(
    pod: dict[str, Any],
) -> None:
    first = rows_of(pod, 30)
    bare = {"phase": "Failed", "reason": "Evicted", "startTime": pod["status"]["startTime"]}
    assert spans(pod, rows_of({**pod, "status": bare}, 40, before=first))[-1] == ("work", 1, 40)


def test_a_node_that_vanished_ends_its_pods_when_it_was_last_heard_of(pod: dict[str, Any]) -> None:
    alive = rows_of(pod, 100)
    lost = replace(NODE, end_microseconds=at(pod, 70), heartbeat_at_microseconds=at(pod, 70))
    assert end_of(pod, 200, node=lost, before=alive) == ("work", 70)
    assert end_of(pod, 200, node=lost, before=alive, gone=True) == ("work", 70)


def test_a_container_that_ended_after_the_last_sign_shows_that_the_pod_was_there(
    pod: dict[str, Any],
) -> None:
    both = [{"name": "worker", "state": state(pod, 1, 75)},
            {"name": "wait", "state": state(pod, 1, None)}]  # fmt: skip
    half = with_status(pod, phase="Running", containerStatuses=both)
    assert end_of(half, 70, gone=True) == ("work", 75)


def test_an_end_that_the_pod_tells_outlives_the_nodes_last_sign(pod: dict[str, Any]) -> None:
    lost = replace(NODE, end_microseconds=at(pod, 70), heartbeat_at_microseconds=at(pod, 70))
    own = [{"name": "worker", "state": state(pod, 1, 75)}]
    ended = with_status(pod, phase="Succeeded", containerStatuses=own)
    assert end_of(ended, 200, node=lost) == ("work", 75)


def test_a_pod_on_a_node_that_comes_back_is_billed_to_its_end(pod: dict[str, Any]) -> None:
    lost = replace(NODE, end_microseconds=at(pod, 70), heartbeat_at_microseconds=at(pod, 70))
    closed = rows_of(pod, 200, node=lost)
    back = rows_of(pod, 300, before=closed)
    assert spans(pod, back)[-2:] == [("work", 1, 70), ("work", 70, None)]
    own = [{"name": "worker", "state": state(pod, 1, 310)}]
    told = rows_of(with_status(pod, phase="Succeeded", containerStatuses=own), 320, before=back)
    assert spans(pod, told)[-2:] == [("work", 1, 70), ("work", 70, 310)]
    assert told[-2] == closed[-1]
