"""doctor --probe against an API server: one pod, what it says, and that it is gone afterwards."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.kubernetes_standin import TOKEN, ApiServer
from tally.kube import probe as kube_probe
from tally.runs import doctor_cluster, doctor_probe

PODS = "/api/v1/namespaces/kubeflow/pods"
LISTED = "s3://mlpipeline/tally at http://seaweedfs.kubeflow:8333 can be listed"


def main(state: dict[str, Any], phase: str) -> dict[str, Any]:
    return {"phase": phase, "containerStatuses": [{"name": "main", "state": state}]}


def ended(code: int, message: str) -> dict[str, Any]:
    phase = "Failed" if code else "Succeeded"
    return main({"terminated": {"exitCode": code, "message": message}}, phase)


@pytest.fixture
def settings(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_probe, "_LOOK_SECONDS", 0.05)
    api.write_kubeconfig(tmp_path / "kubeconfig")
    return {"KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}


def probed(settings: dict[str, str], **more: str) -> list[str]:
    """What doctor says of its probe."""
    found = [one.line() for one in doctor_cluster.findings({**settings, **more}, probe=True)]
    assert not any(TOKEN in line for line in found)
    return [line for line in found if " probe" in line.partition(": ")[0]]


def pods_left(api: ApiServer) -> list[str]:
    return [path for path in api.objects if path.startswith(f"{PODS}/")]


def test_plain_doctor_makes_no_pod(api: ApiServer, settings: dict[str, str]) -> None:
    found = [one.line() for one in doctor_cluster.findings(settings)]
    assert found and not any(" probe" in line for line in found) and not api.made


def test_a_pod_lists_the_store_with_the_secret_and_is_removed(
    api: ApiServer, settings: dict[str, str]
) -> None:
    api.status = iter([{}, main({"running": {}}, "Running"), ended(0, LISTED)]).__next__
    image = {"TALLY_IMAGE": "r.example/tally:1", "TALLY_IMAGE_PULL_SECRET": "registry"}
    assert probed(settings, **image) == [
        f"ok       probe: a pod in kubeflow as pipeline-runner: {LISTED}"
    ]
    (pod,) = api.made
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "r.example/tally:1"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    environment = {entry["name"]: entry for entry in container["env"]}
    assert environment["TALLY_STORE"]["value"] == "s3://mlpipeline/tally"
    assert "http://seaweedfs.kubeflow:8333" in environment["TALLY_STORE_ENDPOINTS"]["value"]
    assert environment["AWS_SECRET_ACCESS_KEY"]["valueFrom"] == {
        "secretKeyRef": {"name": "mlpipeline-minio-artifact", "key": "secretkey"}
    }
    assert not pods_left(api)


@pytest.mark.parametrize(
    ("status", "line"),
    [
        pytest.param(
            ended(1, "store: expected an address of a or b, got none; set TALLY_STORE"),
            "store: expected an address of a or b, got none; set TALLY_STORE",
            id="its own words",
        ),
        pytest.param(
            main({"waiting": {"reason": "ErrImageNeverPull", "message": "x"}}, "Pending"),
            "ErrImageNeverPull: x; correct what it names: TALLY_IMAGE, TALLY_IMAGE_PULL_SECRET, "
            "TALLY_STORE_SECRET",
            id="image",
        ),
    ],
)
def test_what_keeps_it_from_listing_is_one_line(
    api: ApiServer, settings: dict[str, str], status: dict[str, Any], line: str
) -> None:
    api.status = lambda: status
    assert probed(settings) == [f"missing  probe: a pod in kubeflow as pipeline-runner: {line}"]
    assert api.made and not pods_left(api)


def test_a_pod_that_no_node_takes_is_given_up_in_time_with_the_schedulers_words(
    api: ApiServer, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tally.kube.cluster import Cluster

    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    words = {**condition, "message": "0/3 nodes are available"}
    api.status = lambda: {"phase": "Pending", "conditions": [words]}
    monkeypatch.setattr(doctor_probe, "_TO_END_SECONDS", 0.5)
    began = time.monotonic()
    cluster = Cluster(settings["KUBECONFIG"])
    (finding,) = doctor_probe.findings(cluster, settings, seconds=1.0)
    assert time.monotonic() - began < 20
    assert "Unschedulable: 0/3 nodes are available; give the cluster a node" in finding.line()
    assert not pods_left(api)


def test_who_may_not_make_or_remove_one_is_told(api: ApiServer, settings: dict[str, str]) -> None:
    api.forbidden = {"POST pods"}
    assert probed(settings) == [
        "missing  probe: no pod in kubeflow: no; let who may make pods in kubeflow run doctor "
        "--probe"
    ]
    assert not api.made
    assert probed({"HOME": "/nowhere"}) == [
        "missing  probe: no Kubernetes to make a pod in; set KUBECONFIG"
    ]


def test_one_that_cannot_be_removed_is_named(
    api: ApiServer, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.status = lambda: ended(0, LISTED)
    monkeypatch.setattr(kube_probe.secrets, "token_hex", lambda _: "1")
    api.forbidden = {"DELETE tally-probe-1"}
    good, left = probed(settings)
    assert good.startswith("ok ")
    assert left == (
        "missing  probe's pod: could not be removed: no; kubectl delete pod -n kubeflow "
        "tally-probe-1"
    )


def test_what_a_killed_doctor_left_goes_once_it_has_ended(
    api: ApiServer, settings: dict[str, str]
) -> None:
    former = [
        {"metadata": {"name": name, "labels": {"tally.dev/probe": "store"}}, "status": {"phase": p}}
        for name, p in (("old", "Failed"), ("anothers", "Running"))
    ]
    api.objects[PODS] = former
    api.objects |= {f"{PODS}/{one['metadata']['name']}": one for one in former}
    api.status = lambda: ended(0, LISTED)
    assert probed(settings)[0].startswith("ok ")
    assert pods_left(api) == [f"{PODS}/anothers"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_doctor_removes_it(
    api: ApiServer, settings: dict[str, str], number: signal.Signals
) -> None:
    api.status = lambda: main({"running": {}}, "Running")
    process = subprocess.Popen(
        [sys.executable, "-m", "tally", "doctor"],
        env={**os.environ, **settings, "PROBE": "1"}, cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not pods_left(api):
            assert time.monotonic() < deadline and process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert api.made and not pods_left(api)
