"""Pods of Kubeflow's steps in a namespace of the standard `restricted`, as they were compiled."""

import json
from typing import Any

import pytest
import yaml

from helpers.cluster.objects import PROJECT, apply, delete
from tally.kube.cluster import Cluster, Refused
from tally.runs.compiled import compile_for_cluster

STEPS = ["prepare", "plan", "train", "evaluate", "bill"]
# a pod's own words, which the API server gives anew
_GIVEN = (
    "creationTimestamp",
    "generation",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "uid",
)


@pytest.fixture(scope="module")
def executors() -> dict[str, Any]:
    """What Kubeflow's driver is told of each step's pod, of the compiled pipeline `cnn`."""
    compiled = compile_for_cluster("cnn", {}, {"TALLY_STORE": "s3://tally"})
    (_, platform) = yaml.safe_load_all(compiled.ir)
    found = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): executor for name, executor in found.items()}


def recorded() -> dict[str, Any]:
    """A step's pod as a real Kubeflow made it, without what its API server added."""
    pod = json.loads((PROJECT / "tests/kube/pods/kfp-executor.json").read_text())
    del pod["status"]
    pod["metadata"] = {k: v for k, v in pod["metadata"].items() if k not in _GIVEN}
    spec = pod["spec"]
    for name in ("nodeName", "priority", "preemptionPolicy", "serviceAccount"):
        spec.pop(name, None)
    spec["volumes"] = [v for v in spec["volumes"] if not v["name"].startswith("kube-api-access")]
    for one in spec["containers"] + spec["initContainers"]:
        mounts = one["volumeMounts"]
        one["volumeMounts"] = [m for m in mounts if not m["name"].startswith("kube-api-access")]
    return dict(pod)


def main_of(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = (one for one in pod["spec"]["containers"] if one["name"] == "main")
    return dict(found)


@pytest.fixture
def steps(cluster: Cluster, namespace: str) -> str:
    """The namespace, with the account of Kubeflow's steps."""
    account = {"kind": "ServiceAccount", "metadata": {"name": "pipeline-runner"}}
    apply(cluster, account, namespace)
    return namespace


def test_the_pipeline_has_these_steps(executors: dict[str, Any]) -> None:
    assert set(executors) == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_steps_pod_is_admitted_with_what_was_compiled(
    cluster: Cluster, steps: str, executors: dict[str, Any], step: str
) -> None:
    """The driver sets the security context on the main container, beside what is there."""
    pod = recorded()
    compiled = executors[step]["securityContext"]
    main = main_of(pod)
    assert not set(compiled) & set(main["securityContext"])
    main["securityContext"].update({k: _number(v) for k, v in compiled.items()})
    made = apply(cluster, pod, steps)
    assert main_of(made)["securityContext"]["runAsNonRoot"] is True
    delete(cluster, "Pod", made["metadata"]["name"], steps)


def _number(value: Any) -> Any:
    """The IR has 64-bit numbers as text."""
    return int(value) if isinstance(value, str) else value


def test_it_is_refused_without(cluster: Cluster, steps: str) -> None:
    with pytest.raises(Refused) as refused:
        apply(cluster, recorded(), steps)
    assert refused.value.status == 403
    assert 'violates PodSecurity "restricted' in str(refused.value)
    assert 'container "main" must set securityContext.runAsNonRoot=true' in str(refused.value)
