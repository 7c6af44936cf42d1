"""Why steps of a Kubeflow run wait or fail, read off pods and Workflows."""

import base64
import gzip
import json
from typing import Any

import pytest

from helpers.kube.recorded import recorded, with_status
from tally.kube.step_reasons import step_reasons

EXECUTOR = recorded("kfp-executor")
DRIVER = recorded("kfp-driver")
WORKFLOW = "lab-three-steps-mndzz"
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
UNPLACED = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_GPU}
    ],
}


def state(name: str, **kind: Any) -> dict[str, Any]:
    return {"name": name, "state": kind}


def failed(*containers: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {**EXECUTOR, "status": {"phase": "Failed", "containerStatuses": containers, **status}}


def node(name: str, message: str, phase: str = "Pending", kind: str = "Pod") -> dict[str, Any]:
    path = f"{WORKFLOW}(0).{name}"
    return {"name": path, "displayName": name.rpartition(".")[2], "type": kind, "phase": phase,
            "message": message}  # fmt: skip


def workflow(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": WORKFLOW},
        "status": {"nodes": {str(i): one for i, one in enumerate(nodes)}},
    }


@pytest.mark.parametrize("name", ["kfp-executor", "kfp-driver", "kfp-dag-driver"])
def test_a_pod_that_did_well_has_no_reason(name: str) -> None:
    assert step_reasons([recorded(name)]) == {}


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        ({**EXECUTOR, "status": UNPLACED}, f"Unschedulable: {NO_GPU}"),
        (
            with_status(
                EXECUTOR, phase="Pending", conditions=[], containerStatuses=[
                    state("main", waiting={"reason": "ImagePullBackOff", "message": "no such tag"}),
                    state("wait", waiting={"reason": "PodInitializing"}),
                ],
            ),
            "ImagePullBackOff: no such tag",
        ),
        (
            with_status(
                EXECUTOR, phase="Pending", conditions=[],
                initContainerStatuses=[
                    state("init", terminated={"exitCode": 0, "reason": "Completed"}),
                    state("kfp-launcher", waiting={"reason": "ErrImagePull", "message": "denied"}),
                ],
                containerStatuses=[state("main", waiting={"reason": "PodInitializing"})],
            ),
            "ErrImagePull: denied",
        ),
        (
            failed(state("main", terminated={"exitCode": 137, "reason": "OOMKilled"})),
            "OOMKilled: it used more memory than its limit of 512Mi; where a meter is, the next "
            "submit asks for 768Mi",
        ),
        (
            failed(
                state("wait", terminated={"exitCode": 64}),
                state("main", terminated={"exitCode": 137, "reason": "OOMKilled"}),
            ),
            "OOMKilled: it used more memory than its limit of 512Mi; where a meter is, the next "
            "submit asks for 768Mi",
        ),
        (failed(state("main", terminated={"exitCode": 1, "reason": "Error"})), "exit code 1"),
        (
            failed(
                state("wait", terminated={"exitCode": 64, "message": "cannot save\nartifacts"}),
                state("main", terminated={"exitCode": 0, "reason": "Completed"}),
            ),
            "exit code 64: cannot save artifacts",
        ),
        (
            failed(reason="Evicted", message="The node was low on resource: memory."),
            "Evicted: The node was low on resource: memory.",
        ),
        (
            failed(
                state("main", terminated={"exitCode": 143}),
                reason="DeadlineExceeded",
                message="Pod was active on the node longer than the specified deadline",
            ),
            "DeadlineExceeded: Pod was active on the node longer than the specified deadline",
        ),
    ],
    ids=["unschedulable", "image", "launcher's image", "oom", "oom before wait", "exit", "wait",
         "evicted", "timeout"],
)  # fmt: skip
def test_an_executor_is_read_in_kubernetes_own_words(pod: dict[str, Any], reason: str) -> None:
    assert step_reasons([pod]) == {"measure": reason}


def test_a_driver_is_called_one() -> None:
    ended = [state("main", terminated={"exitCode": 1, "reason": "Error"})]
    pod = {**DRIVER, "status": {"phase": "Failed", "containerStatuses": ended}}
    (reason,) = step_reasons([pod]).values()
    assert reason == "driver: exit code 1"


def test_a_gangs_worker_is_named() -> None:
    (reason,) = step_reasons([recorded("unschedulable")]).values()
    assert reason.startswith("worker 0: Unschedulable: 0/1 nodes are available")


def ended_at(name: str, second: int, **ended: Any) -> dict[str, Any]:
    """A gang's pod that ended so."""
    pod = recorded(name)
    state = {"terminated": {"finishedAt": f"2026-11-23T19:30:{second:02d}Z", **ended}}
    statuses = [{"name": "worker", "state": state}]
    return with_status(pod, phase="Failed", conditions=[], containerStatuses=statuses)


def conductor(**ended: Any) -> dict[str, Any]:
    labels = {**EXECUTOR["metadata"]["labels"], "tally.dev/step": "train"}
    meta = {**EXECUTOR["metadata"], "labels": labels}
    return {**failed(state("main", terminated=ended)), "metadata": meta}


ORPHAN = {"exitCode": 75, "message": "on. You may see slightly different numerical results"}


def test_what_ended_the_conductor_is_told_and_not_that_its_workers_missed_it() -> None:
    orphan = ended_at("exit-75", 20, **ORPHAN)
    killed = conductor(exitCode=137, reason="Error")
    assert step_reasons([killed, orphan]) == {"train": "SIGKILL"}
    assert step_reasons([orphan]) == {"train": "the conductor's pod was gone"}


def test_the_first_of_a_gangs_ends_counts() -> None:
    oom = ended_at("killed", 10, exitCode=137, reason="OOMKilled")
    later = ended_at("killed", 12, exitCode=1)
    orphan = ended_at("exit-75", 5, **ORPHAN)
    (reason,) = step_reasons([later, oom, orphan]).values()
    assert reason.startswith("worker 0: OOMKilled")


def test_a_conductor_that_ended_by_itself_says_why_in_its_log() -> None:
    oom = ended_at("killed", 10, exitCode=137, reason="OOMKilled")
    (reason,) = step_reasons([conductor(exitCode=1), oom]).values()
    # begins as what has to be looked up in a log does
    assert reason.startswith("exit code 1, after worker 0: OOMKilled")


def test_a_worker_that_was_asked_to_go_is_no_reason() -> None:
    assert step_reasons([recorded("deleted")]) == {}
    assert list(step_reasons([recorded("evicted")])) == ["train"]


def test_the_newest_attempt_that_has_a_reason_is_told() -> None:
    def at(minute: int, **status: Any) -> dict[str, Any]:
        meta = {**EXECUTOR["metadata"], "creationTimestamp": f"2026-11-23T19:{minute:02d}:00Z"}
        return {**EXECUTOR, "metadata": meta, "status": status}

    evicted = at(1, phase="Failed", reason="Evicted", message="low on memory")
    assert step_reasons([at(2, **UNPLACED), evicted]) == {"measure": f"Unschedulable: {NO_GPU}"}
    assert step_reasons([at(2, phase="Running"), evicted]) == {"measure": "Evicted: low on memory"}


@pytest.mark.parametrize(
    ("message", "phase"),
    [
        ('pods "x" is forbidden: exceeded quota: team-a, requested: cpu=4, used: cpu=7', "Pending"),
        ('pods "x" is forbidden: error looking up service account kubeflow/nosuch', "Error"),
    ],
    ids=["quota", "service account"],
)
def test_where_there_is_no_pod_the_workflow_tells(message: str, phase: str) -> None:
    told = step_reasons([], [workflow(node("root(0).train(0).executor(0)", message, phase))])
    assert told == {"train": message}
    driver = workflow(node("root(0).train-driver(0)", message, phase))
    assert step_reasons([], [driver]) == {"train": f"driver: {message}"}


def test_a_pod_knows_more_than_the_workflow() -> None:
    path = "root(0).exit-handler-1(0).measure(0).executor(0)"
    pod = {**EXECUTOR, "status": UNPLACED}
    told = step_reasons([pod], [workflow(node(path, "Unschedulable: cut"))])
    assert told == {"measure": f"Unschedulable: {NO_GPU}"}


@pytest.mark.parametrize(
    "other",
    [
        node("root(0)", "child 'x-1' failed", "Failed", "DAG"),
        node("root(0).train(0).executor", "No more retries left", "Failed"),
        node("root(0).train(0).executor(0)", "Error (exit code 1)", "Failed"),
        node("root(0).train(0).executor(0)", "PodInitializing"),
        node("root(0).train(0).executor(0)", "some words", "Succeeded"),
    ],
    ids=lambda one: str(one["message"]),
)
def test_what_is_no_reason_is_not_told(other: dict[str, Any]) -> None:
    assert step_reasons([], [workflow(other)]) == {}


def test_a_large_workflows_nodes_are_unpacked() -> None:
    nodes = {"1": node("root(0).train(0).executor(0)", "exceeded quota")}
    packed = base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()
    large = {"metadata": {"name": WORKFLOW}, "status": {"compressedNodes": packed}}
    assert step_reasons([], [large]) == {"train": "exceeded quota"}
    broken = {"metadata": {"name": WORKFLOW}, "status": {"compressedNodes": "e30="}}
    assert step_reasons([], [broken]) == {}
