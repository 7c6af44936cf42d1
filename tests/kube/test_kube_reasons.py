"""What became of a worker, read off pods that a real cluster showed."""

from typing import Any

import pytest

from helpers.kube.recorded import recorded, with_status
from tally.kube.reasons import change, from_events, is_certain, job_failure, worker_name


@pytest.mark.parametrize(
    ("name", "state", "cause", "reason", "exit_code"),
    [
        ("placed", "pending", "", "", None),
        ("running", "started", "", "", None),
        ("exit-3", "ended", "exit", "exit code 3", 3),  # not its log's last word
        ("exit-75", "ended", "exit", "exit code 75", 75),
        ("killed", "ended", "signal", "SIGKILL", 137),
        ("deleted", "ended", "signal", "SIGTERM; its pod was deleted", 143),
        ("oom", "ended", "oom", "OOMKilled: it used more memory than its limit of 67108864", 137),
        ("evicted", "ended", "eviction", "EvictionByEvictionAPI: Eviction API: evicting", 143),
        ("unschedulable", "pending", "unschedulable", "Unschedulable: 0/1 nodes are available: 1 "
         "Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 "
         "Preemption is not helpful for scheduling.", None),
        ("no-secret", "pending", "image",
         'CreateContainerConfigError: secret "none" not found', None),
    ],
)  # fmt: skip
def test_a_pod_is_read_in_kubernetes_own_words(
    name: str, state: str, cause: str, reason: str, exit_code: int | None
) -> None:
    pod = recorded(name)
    told = change(pod, 7)
    assert (told.state, told.cause, told.reason) == (state, cause, reason)
    assert told.exit_code == exit_code
    assert (told.worker, told.uid, told.at_microseconds) == ("0", pod["metadata"]["uid"], 7)
    assert told.fatal == (cause == "image")
    assert told.memory_limit_bytes == (64 << 20 if state == "ended" else 0)


@pytest.mark.parametrize("name", ["no-image", "back-off"])
def test_an_image_that_is_not_there_is_fatal_but_not_at_once(name: str) -> None:
    told = change(recorded(name), 0)
    assert (told.state, told.cause, told.fatal) == ("pending", "image", True)
    assert "localhost/no-such:1" in told.reason
    assert not is_certain(told)  # a registry may have stumbled


def test_a_name_that_can_be_no_image_is_certain() -> None:
    waiting = {"waiting": {"reason": "InvalidImageName", "message": "couldn't parse"}}
    status = [{"name": "worker", "state": waiting}]
    assert is_certain(change(with_status(recorded("no-image"), containerStatuses=status), 0))


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("PreemptionByScheduler", "eviction"),
        ("TerminationByKubelet", "eviction"),
        ("DeletionByTaintManager", "node_lost"),
        ("DeletionByPodGC", "node_lost"),
        ("SomethingNew", "eviction"),
    ],
)
def test_a_disruption_is_told_by_its_condition(reason: str, cause: str) -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "why"}
    told = change(with_status(recorded("killed"), conditions=[condition]), 0)
    assert (told.state, told.cause, told.reason) == ("ended", cause, f"{reason}: why")


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("Evicted", "eviction"),
        ("NodeLost", "node_lost"),
        ("Terminated", "node_lost"),
        ("OutOfcpu", "unschedulable"),
        ("DeadlineExceeded", "exit"),
    ],
)
def test_a_pod_that_failed_without_a_container_says_why(reason: str, cause: str) -> None:
    pod = with_status(
        recorded("placed"), phase="Failed", reason=reason, message="The node was low on memory."
    )
    told = change(pod, 0)
    assert (told.state, told.cause) == ("ended", cause)
    assert told.reason == f"{reason}: The node was low on memory."
    assert told.exit_code is None


def test_a_pod_that_is_gone_has_ended_however_it_looked_last() -> None:
    told = change(recorded("running"), 0, gone=True)
    assert (told.state, told.cause) == ("ended", "eviction")
    assert "deleted" in told.reason


def test_events_explain_what_the_status_does_not() -> None:
    told = change(recorded("placed"), 0)
    events: list[dict[str, Any]] = [
        {"type": "Normal", "reason": "Scheduled", "message": "", "lastTimestamp": "3",
         "metadata": {}},
        {"type": "Warning", "reason": "FailedMount", "message": "old", "lastTimestamp": "1",
         "metadata": {}},
        {"type": "Warning", "reason": "FailedMount", "message": "no disk", "lastTimestamp": "2",
         "metadata": {}},
    ]  # fmt: skip
    assert from_events(told, events).reason == "FailedMount: no disk"
    unplaced = change(recorded("unschedulable"), 0)
    assert from_events(unplaced, events) == unplaced


def test_last_words_that_a_program_left_for_kubernetes_are_told_and_those_of_its_log_not() -> None:
    pod = recorded("exit-3")
    ended = {"exitCode": 3, "message": "\x1b[1;31mno room\x1b[0m\n on the volume"}
    pod = with_status(pod, containerStatuses=[{"name": "worker", "state": {"terminated": ended}}])
    (worker,) = pod["spec"]["containers"]
    assert change(pod, 0).reason == "exit code 3"
    worker["terminationMessagePolicy"] = "File"
    assert change(pod, 0).reason == "exit code 3: no room on the volume"


def test_a_workers_name_has_the_move_before_its_index() -> None:
    pod = recorded("running")
    for entry in pod["spec"]["containers"][0]["env"]:
        if entry["name"] == "TALLY_WORKER":
            entry["value"] = "2.$(TALLY_INDEX)"
    assert worker_name(pod) == "2.0"


def test_a_jobs_failure_is_told_in_its_own_words() -> None:
    condition = {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded",
                 "message": "Job was active longer than specified deadline"}  # fmt: skip
    said = "DeadlineExceeded: Job was active longer than specified deadline"
    assert job_failure({"status": {"conditions": [condition]}}) == said
    assert job_failure({"status": {"conditions": [{**condition, "type": "Complete"}]}}) == ""
    assert job_failure({}) == ""
