"""A conductor's own pod says what its workers look like."""

import copy
from typing import Any

import pytest

from tally.buckets import endpoints
from tally.kube.ended import conductors_ended
from tally.kube.inside import like_own_pod, owner_of, store_ports

# As KFP makes it: see its executor pods.
POD: dict[str, Any] = {
    "metadata": {
        "name": "cnn-abc-system-container-impl-1",
        "uid": "pod-uid",
        "ownerReferences": [
            {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "cnn-abc",
             "uid": "w", "controller": True, "blockOwnerDeletion": True},
        ],
    },
    "spec": {
        "imagePullSecrets": [{"name": "registry"}],
        "containers": [
            {"name": "wait", "image": "argoexec"},
            {
                "name": "main",
                "image": "example/tally:1",
                "imagePullPolicy": "Always",
                "env": [
                    {"name": "TALLY_STORE", "value": "s3://bucket"},
                    {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                    {"name": "OTHER", "value": "1"},
                    {"name": "AWS_ACCESS_KEY_ID",
                     "valueFrom": {"secretKeyRef": {"name": "s3", "key": "accesskey"}}},
                ],
                "volumeMounts": [
                    {"name": "store", "mountPath": "/store"},
                    {"name": "tmp-dir-argo", "mountPath": "/tmp"},
                    {"name": "kube-api-access", "readOnly": True,
                     "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                    {"name": "argo-key", "mountPath": "/argo/secret/s3", "readOnly": True},
                ],
            },
        ],
        "volumes": [
            {"name": "store", "persistentVolumeClaim": {"claimName": "store"}},
            {"name": "tmp-dir-argo", "emptyDir": {}},
            {"name": "kube-api-access", "projected": {}},
            {"name": "argo-key", "secret": {"secretName": "s3"}},
        ],
    },
}  # fmt: skip


def test_workers_take_over_the_image_and_what_leads_to_the_store() -> None:
    like = like_own_pod(POD)
    assert (like["image"], like["pull_policy"]) == ("example/tally:1", "Always")
    assert like["pull_secrets"] == ("registry",)
    assert like["environment"] == {"TALLY_STORE": "s3://bucket"}
    assert like["secret_environment"] == {"AWS_ACCESS_KEY_ID": ("s3", "accesskey")}
    (volume,) = like["volumes"]
    assert (volume.name, volume.path, volume.read_only) == ("store", "/store", False)
    assert volume.source == {"persistentVolumeClaim": {"claimName": "store"}}


def test_workers_get_the_store_that_the_step_has_taken_and_may_reach_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pod = copy.deepcopy(POD)
    both = "http://seaweedfs.kubeflow:8333 http://minio-service.kubeflow:9000"
    pod["spec"]["containers"][1]["env"].append({"name": "TALLY_STORE_ENDPOINTS", "value": both})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")  # as it was, afterwards
    monkeypatch.setenv("TALLY_STORE_ENDPOINTS", both)
    endpoints.use_first_there(has_address=lambda host: host == "minio-service.kubeflow")
    assert like_own_pod(pod)["environment"] == {
        "TALLY_STORE": "s3://bucket",
        "AWS_ENDPOINT_URL": "http://minio-service.kubeflow:9000",
    }
    assert store_ports() == (443, 9000)


def test_the_gang_belongs_to_the_workflow_without_being_controlled_by_it() -> None:
    owner = owner_of(POD)
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Workflow", "cnn-abc", False)


def test_a_pod_that_nobody_owns_owns_its_gang() -> None:
    alone = {**POD, "metadata": {"name": "p", "uid": "u"}}
    assert owner_of(alone) == {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}


@pytest.mark.parametrize(
    ("phases", "why"),
    [
        ([], "it has no conductor"),
        (["Failed"], "its conductor has failed"),
        (["Succeeded", "Failed"], "its conductor has succeeded"),
        (["Failed", "Running"], ""),
        (["Pending"], ""),
        (["Unknown"], ""),
    ],
)
def test_a_run_goes_on_while_any_conductor_may(phases: list[str], why: str) -> None:
    pods = [{"status": {"phase": phase}} for phase in phases]
    assert conductors_ended(pods) == why


@pytest.mark.parametrize(
    ("endpoint", "ports"),
    [("", (443,)), ("http://minio:9000", (443, 9000)), ("http://minio", (80, 443))],
)
def test_workers_may_reach_the_store_where_its_endpoint_is(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, ports: tuple[int, ...]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert store_ports() == ports
