"""Why a step waits or failed, from the cluster, while and after a run is watched."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from helpers.contract.recordings import FAILURE, UNSCHEDULABLE
from helpers.contract.replay import Replay
from tally.runs.kubeflow import explaining

pytestmark = pytest.mark.slow

PODS = "/api/v1/namespaces/kubeflow/pods"
WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/kubeflow/workflows"
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


def executor(**status: Any) -> dict[str, Any]:
    """The recorded pod of an executor, as that of our step train."""
    path = Path(__file__).parents[1] / "kube" / "pods" / "kfp-executor.json"
    pod = json.loads(path.read_text())
    notes = pod["metadata"]["annotations"]
    name = notes["workflows.argoproj.io/node-name"]
    notes["workflows.argoproj.io/node-name"] = name.replace("measure", "train")
    return {**pod, "status": status}


def unplaced() -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return executor(phase="Pending", conditions=[{**condition, "message": NO_GPU}])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "LOOK_SECONDS", 0.02)


def interrupt_once_read(times: int) -> Any:
    def looked(replay: Replay) -> None:
        if replay.seen[PODS] >= times:
            os.kill(os.getpid(), signal.SIGINT)

    return looked


@pytest.mark.usefixtures("kubeconfig")
def test_what_keeps_a_step_waiting_is_said_once_and_again_when_it_changes(
    run_tally, replay: Replay
) -> None:
    replay.story = UNSCHEDULABLE
    replay.kubernetes = {PODS: {"items": [unplaced()]}, WORKFLOWS: {"items": []}}

    def looked(server: Replay) -> None:
        if server.seen[PODS] == 5:
            waiting = {"reason": "ErrImagePull", "message": "no such tag"}
            status = {"name": "main", "state": {"waiting": waiting}}
            changed = executor(phase="Pending", containerStatuses=[status])
            server.kubernetes[PODS] = {"items": [changed]}
        interrupt_once_read(15)(server)

    replay.looked = looked
    done = run_tally("submit", "cnn")
    assert done.code == 0
    assert done.out.count(f"train: Unschedulable: {NO_GPU}") == 1
    assert done.out.count("train: ErrImagePull: no such tag") == 1


@pytest.mark.usefixtures("kubeconfig")
def test_a_failed_steps_reason_is_the_clusters_where_the_log_cannot_tell(
    run_tally, replay: Replay
) -> None:
    replay.story = FAILURE
    killed = {"exitCode": 137, "reason": "OOMKilled"}
    pod = executor(
        phase="Failed", containerStatuses=[{"name": "main", "state": {"terminated": killed}}]
    )
    replay.kubernetes = {PODS: {"items": [pod]}, WORKFLOWS: {"items": []}}
    done = run_tally("submit", "cnn")
    assert done.code == 1
    assert done.err.splitlines() == [
        "failed: train: OOMKilled: it used more memory than its limit of 512Mi; "
        "where a meter is, the next submit asks for 768Mi"
    ]


@pytest.mark.usefixtures("kubeconfig")
def test_where_only_the_exit_code_is_known_the_log_is_asked(run_tally, replay: Replay) -> None:
    replay.story = FAILURE
    ended = {"name": "main", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    pods = {"items": [executor(phase="Failed", containerStatuses=[ended])]}
    replay.kubernetes = {PODS: pods, WORKFLOWS: {"items": []}}
    done = run_tally("submit", "cnn")
    assert done.err.splitlines() == ["failed: train: RuntimeError: bad thing: hello"]
    replay.faults["GET v1alpha1 log"] = ["404"]
    done = run_tally("submit", "cnn")
    assert done.err.splitlines() == ["failed: train: exit code 1"]


@pytest.mark.usefixtures("kubeconfig")
@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_read_pods_is_not_bothered(run_tally, replay: Replay, status: int) -> None:
    replay.kubernetes = {PODS: status, WORKFLOWS: status}
    done = run_tally("submit", "cnn")
    assert (done.code, done.err) == (0, "")
    assert replay.seen[PODS] == 1


@pytest.mark.usefixtures("kubeconfig")
def test_who_may_read_pods_but_no_workflows_hears_of_pods(run_tally, replay: Replay) -> None:
    replay.story = UNSCHEDULABLE
    replay.kubernetes = {PODS: {"items": [unplaced()]}, WORKFLOWS: 403}
    replay.looked = interrupt_once_read(4)
    assert f"train: Unschedulable: {NO_GPU}" in run_tally("submit", "cnn").out
