"""A gang whose pods wait for a meter that is no more holds nobody up."""

import time
from collections.abc import Callable
from typing import Any

from helpers.cluster.objects import every, until_true
from tally.kube.cluster import Cluster
from tally.kube.finalizer import is_over
from tally.kube.manifests import FINALIZER
from tally.kube.reap import reap

Make = Callable[..., Any]


def held(cluster: Cluster, namespace: str) -> list[str]:
    """Pods that are there for the finalizer alone."""
    pods = every(cluster, "Pod", namespace)
    return [pod["metadata"]["uid"] for pod in pods if is_over(pod)]


def test_stop_and_resize_wait_for_containers_and_not_for_the_meter(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    gang, told = gang_of(spec(metered=True), template())
    gang.start(2)
    uids = told.until_started("0", "1")
    gang.resize(1)
    told.until(lambda c: c.worker == "1" and c.state == "ended", 15)
    gang.resize(2)
    again = told.until(
        lambda c: c.worker == "1" and c.state == "started" and c.uid != uids["1"], 30
    )
    began = time.monotonic()
    gang.stop(10)
    assert time.monotonic() - began < 8
    ended = [c.uid for c in told.changes if c.state == "ended"]
    assert sorted(ended) == sorted({*uids.values(), again.uid})  # each told once
    until_true(lambda: len(held(cluster, namespace)) == 3, 10)


def test_the_next_attempt_takes_the_finalizer_off_by_itself(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    first = spec(metered=True)
    gang, told = gang_of(first, template())
    gang.start(2)
    old = set(told.until_started("0", "1").values())
    second = type(first)(**{**first.__dict__, "attempt": 2})
    gang, told = gang_of(second, template())
    began = time.monotonic()
    gang.start(1)
    print(f"started after {time.monotonic() - began:.1f} s")
    new = told.until_started("0")["0"]
    assert {pod["metadata"]["uid"] for pod in every(cluster, "Pod", namespace)} == {new}
    assert new not in old


def test_reap_lets_go_of_what_no_meter_did(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    made = spec(metered=True)
    gang, told = gang_of(made, template())
    gang.start(2)
    told.until_started("0", "1")
    lines = reap(cluster, namespace)
    assert lines[0] == f"removed {namespace}/{made.name} of run {made.run_id}: it has no conductor"
    assert len(lines) == 3
    assert all(f"no meter took {FINALIZER} off it" in line for line in lines[1:])
    until_true(lambda: not every(cluster, "Pod", namespace), 10)
    assert reap(cluster, namespace) == []


def test_a_dry_run_of_reap_lets_go_of_nothing(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    gang, told = gang_of(spec(metered=True), template())
    gang.start(1)
    told.until_started("0")
    gang.stop(10)
    until_true(lambda: held(cluster, namespace), 10)
    (line,) = reap(cluster, namespace, dry_run=True)
    assert line.startswith(f"would let go {namespace}/")
    assert len(held(cluster, namespace)) == 1
    reap(cluster, namespace)
