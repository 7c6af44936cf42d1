"""A conductor that is a pod makes workers that are like it, and takes them along when it goes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from conducting import conductor_pod, make_store, phase_of, until_workers
from objects import STAND_IN, apply, delete, every, pod_of, until_true

from tally.kube.cluster import Cluster

Make = Callable[..., Any]

CONDUCT = f"""
import os, signal, sys, threading
from dataclasses import replace
from tally.kube.here import is_here
from tally.kube.inside import gang_here
assert is_here()
gang = gang_here(
    run_id=os.environ["TALLY_RUN_ID"], step="train", pipeline="cnn", attempt=1,
    coordinator=os.environ["TALLY_HOST"] + ":7000", token=b"t",
    cpu_cores=0.1, memory_bytes=64 << 20,
)
gang._template = replace(gang._template, command=("python", "-S", "-c", {STAND_IN!r}))
def stop(*_):
    gang.stop(1)
    os._exit(143)
signal.signal(signal.SIGTERM, stop)
gang.watch(lambda change: print(change, flush=True))
gang.start(2)
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
