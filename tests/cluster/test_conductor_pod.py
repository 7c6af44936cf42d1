"""A conductor that is a pod makes workers that are like it, and takes them along when it goes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.built_manifests import built, the, with_components
from helpers.cluster.conducting import conductor_pod, make_store, phase_of, until_workers
from helpers.cluster.objects import (
    PROJECT,
    STAND_IN,
    apply,
    delete,
    every,
    log_of,
    path_of,
    pod_of,
    until_true,
)
from tally.kube.cluster import Cluster
from tally.kube.manifests import QUEUE

Make = Callable[..., Any]

CONDUCT = f"""
import os, signal, sys, threading
from dataclasses import replace
from tally.kube.inside import gang_here
from tally.runcontext import RunContext
from tally.scaling.rightsizing import Requests
M = 64 << 20
assert RunContext.read().in_pod
gang = gang_here(
    run_id=os.environ["TALLY_RUN_ID"], step="train", pipeline="cnn", attempt=1,
    coordinator=os.environ["TALLY_HOST"] + ":7000", token=b"t",
    size=Requests(cpu_cores=0.1, cpu_limit_cores=0.1, memory_bytes=M, memory_limit_bytes=M),
)
gang._template = replace(gang._template, command=("python", "-S", "-c", {STAND_IN!r}))
def stop(*_):
    gang.stop(1)
    os._exit(143)
signal.signal(signal.SIGTERM, stop)
gang.watch(lambda change: print(change, flush=True))
gang.start(2)
print("started", flush=True)
while True: signal.pause()
"""


def test_workers_have_the_conductors_image_and_store_and_go_when_it_is_told_to_end(
    cluster: Cluster, namespace: str, spec: Make, tmp_path: Path
) -> None:
    made = spec()
    make_store(cluster, namespace, tmp_path / "store")
    pod = conductor_pod("conductor", made.run_id, ["python", "-c", CONDUCT], {})
    apply(cluster, pod, namespace)
    workers = until_workers(cluster, namespace, 2, 60, "conductor")
    for worker in workers:
        (container,) = pod_of(cluster, namespace, worker["metadata"]["uid"])["spec"]["containers"]
        assert container["image"] == pod["spec"]["containers"][0]["image"]
        assert {"name": "TALLY_STORE", "value": "/store"} in container["env"]
        assert "/store" in [mount["mountPath"] for mount in container["volumeMounts"]]
        assert worker["metadata"]["labels"]["tally.dev/team"] == namespace
    (job,) = every(cluster, "Job", namespace)
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Pod", "conductor")
    cluster.request("DELETE", f"api/v1/namespaces/{namespace}/pods/conductor")
    until_true(lambda: not every(cluster, "Pod", namespace), 10)
    until_true(lambda: not every(cluster, "Job", namespace), 10)


def test_a_conductor_that_is_erased_takes_its_gang_along(
    cluster: Cluster, namespace: str, spec: Make, tmp_path: Path
) -> None:
    made = spec()
    make_store(cluster, namespace, tmp_path / "store")
    pod = conductor_pod("conductor", made.run_id, ["python", "-c", CONDUCT], {})
    apply(cluster, pod, namespace)
    until_workers(cluster, namespace, 2, 60, "conductor")
    assert phase_of(cluster, namespace, "conductor") == "Running"
    delete(cluster, "Pod", "conductor", namespace)  # at once, without a signal that it could hear
    until_true(lambda: not every(cluster, "Pod", namespace), 30)
    until_true(lambda: not every(cluster, "Job", namespace), 10)


def test_in_a_queue_of_kueues_a_gang_waits_until_it_is_let_in(
    cluster: Cluster, namespace: str, spec: Make, tmp_path: Path
) -> None:
    """The test is Kueue: it looks at the Job as that does, and lets it in as that does."""
    made = spec()
    make_store(cluster, namespace, tmp_path / "store")
    (folder := tmp_path / "overlay").mkdir()
    objects = built(with_components(folder, "local", "kueue"))
    settings = the(objects, "ConfigMap", "tally")["data"]
    body = {"metadata": {"name": "tally"}, "data": settings}
    cluster.request("POST", f"api/v1/namespaces/{namespace}/configmaps", body)
    pod = conductor_pod("conductor", made.run_id, ["python", "-c", CONDUCT], {})
    source = {"name": "tally", "key": "TALLY_QUEUE", "optional": True}  # as it is compiled
    pod["spec"]["containers"][0]["env"].append(
        {"name": "TALLY_QUEUE", "valueFrom": {"configMapKeyRef": source}}
    )
    apply(cluster, pod, namespace)
    until_true(lambda: phase_of(cluster, namespace, "conductor") == "Running", 60)
    until_true(lambda: "started" in log_of(cluster, namespace, "conductor"), 60)
    (job,) = every(cluster, "Job", namespace)
    assert (
        job["metadata"]["labels"][QUEUE] == the(objects, "LocalQueue", "tally")["metadata"]["name"]
    )
    assert job["metadata"]["annotations"]["kueue.x-k8s.io/elastic-job"] == "true"
    assert job["spec"]["suspend"] is True
    assert every(cluster, "Pod", namespace) == []
    path = f"{path_of('Job', namespace)}/{job['metadata']['name']}"
    cluster.request("PATCH", path, {"spec": {"suspend": False}})
    for worker in until_workers(cluster, namespace, 2, 60, "conductor"):
        assert QUEUE not in worker["metadata"]["labels"]


@pytest.mark.parametrize("lacking", ["all", "networkpolicies", "services"])
def test_a_conductor_without_its_rights_says_so_and_leaves_nothing_half_made(
    cluster: Cluster, namespace: str, spec: Make, tmp_path: Path, lacking: str
) -> None:
    """Network policies are what it makes last."""
    make_store(cluster, namespace, tmp_path / "store")
    shipped = yaml.safe_load_all((PROJECT / "manifests/gang-rbac.yaml").read_text())
    rules = next(item["rules"] for item in shipped if item["kind"] == "Role")
    for rule in rules:
        rule["resources"] = [one for one in rule["resources"] if one != lacking]
    rules = [rule for rule in rules if rule["resources"] and lacking != "all"]
    cluster.request("PATCH", f"{path_of('Role', namespace)}/tally-gang", {"rules": rules})
    command = ["python", "-m", "tally.steps.train", "dataset=digits", "workers=2", "epochs=1"]
    apply(cluster, conductor_pod("conductor", spec().run_id, command, {}), namespace)
    until_true(lambda: phase_of(cluster, namespace, "conductor") == "Failed", 60)
    told = log_of(cluster, namespace, "conductor").splitlines()
    (failed,) = (json.loads(line) for line in told if '"failed"' in line)
    assert "got 403 (" in failed["message"]
    assert failed["message"].endswith(
        "; give the account the Role of manifests/gang-rbac.yaml, or more quota"
    )
    assert lacking == "all" or lacking in failed["message"]
    for kind in ("Job", "Secret", "Service", "NetworkPolicy", "Pod"):
        until_true(lambda kind=kind: not every(cluster, kind, namespace), 10)
    assert phase_of(cluster, namespace, "conductor") == "Failed"
