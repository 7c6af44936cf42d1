"""The pod that looks at the store from inside: what it is, and what its looks mean."""

from typing import Any

import pytest

from tally.kube.probe import COMMAND, Probed, outcome, probe_pod, unfinished
from tally.kube.template import Volume, WorkerTemplate

TEMPLATE = WorkerTemplate(
    image="example/tally:1",
    cpu_cores=1.0,
    memory_bytes=512 << 20,
    environment={"TALLY_STORE": "s3://b"},
    secret_environment={"AWS_ACCESS_KEY_ID": ("s3", "accesskey")},
    volumes=(Volume(name="store", path="/store", source={"persistentVolumeClaim": {}}),),
    service_account="pipeline-runner",
    pull_secrets=("registry",),
    command=COMMAND,
)
POD = probe_pod("tally-probe-1", TEMPLATE)


def test_a_namespace_of_the_standard_restricted_takes_it_and_it_ends_by_itself() -> None:
    spec = POD["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 60)
    assert spec["automountServiceAccountToken"] is False


def test_it_has_the_account_the_secret_and_the_volume_of_steps_and_is_of_no_run() -> None:
    spec = POD["spec"]
    (container,) = spec["containers"]
    assert spec["serviceAccountName"] == "pipeline-runner"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert container["env"] == [
        {"name": "TALLY_STORE", "value": "s3://b"},
        {
            "name": "AWS_ACCESS_KEY_ID",
            "valueFrom": {"secretKeyRef": {"name": "s3", "key": "accesskey"}},
        },
    ]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp", "/store"]
    # the network policy of steps selects whatever has this label; the meter's runs need a value
    assert POD["metadata"]["labels"]["pipeline/runid"] == ""


def looks(state: dict[str, Any], **status: Any) -> dict[str, Any]:
    there = {"containerStatuses": [{"name": "main", "state": state}]} if state else {}
    return {**POD, "metadata": {**POD["metadata"], "uid": "u"}, "status": {**there, **status}}


def ended(code: int, message: str) -> dict[str, Any]:
    return looks({"terminated": {"exitCode": code, "message": message}}, phase="Failed")


PULL = looks({"waiting": {"reason": "ErrImagePull", "message": "not\nfound"}}, phase="Pending")
CONDITION = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
UNPLACED = looks({}, phase="Pending", conditions=[{**CONDITION, "message": "0/3 nodes"}])


@pytest.mark.parametrize(
    ("pod", "waited_seconds", "found"),
    [
        pytest.param(ended(0, "s3://b is listed"), 1, Probed(True, "s3://b is listed", "exit"),
                     id="good"),
        pytest.param(ended(1, "store: expected a, got b; do c"), 1,
                     Probed(False, "store: expected a, got b; do c", "exit"), id="its own words"),
        pytest.param(ended(1, "Traceback\n  at x\nModuleNotFoundError: No module"), 1,
                     Probed(False, "ModuleNotFoundError: No module", "exit"), id="a traceback"),
        pytest.param(ended(137, ""), 1, Probed(False, "SIGKILL", "signal"), id="no words"),
        pytest.param(PULL, 2, None, id="an image may come yet"),
        pytest.param(PULL, 11, Probed(False, "ErrImagePull: not found", "image"), id="no image"),
        pytest.param(looks({"waiting": {"reason": "InvalidImageName", "message": "x"}}), 0,
                     Probed(False, "InvalidImageName: x", "image"), id="no name of an image"),
        pytest.param(UNPLACED, 40, None, id="a node may come yet"),
        pytest.param(looks({"running": {}}), 40, None, id="runs"),
        pytest.param(looks({}), 40, None, id="nothing yet"),
    ],
)  # fmt: skip
def test_what_its_looks_mean(
    pod: dict[str, Any], waited_seconds: float, found: Probed | None
) -> None:
    assert outcome(pod, waited_seconds) == found


def test_what_came_to_no_end_is_said_with_its_reason() -> None:
    assert unfinished(UNPLACED, [], 48) == Probed(
        False, "Unschedulable: 0/3 nodes", "unschedulable"
    )
    running = looks({"running": {}})
    assert unfinished(running, [], 48).words == "it runs and has said nothing within 48 s"
    assert unfinished(looks({}), [], 48).words == "it has not started within 48 s"
    event = {"type": "Warning", "reason": "FailedMount", "message": "no secret", "metadata": {}}
    assert unfinished(looks({}), [event], 48).words == "FailedMount: no secret"
