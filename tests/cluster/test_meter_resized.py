"""A pod that is resized in place on a real kubelet: billed by what it held, since when it did."""

import time
from collections.abc import Callable

from helpers.cluster.metering import MeterProcess, make_pod, pod_now, step_pod, until_phase
from helpers.cluster.objects import path_of, until_true
from tally.kube.cluster import Cluster
from tally.kube.quantities import held, pod_holding

Make = Callable[..., MeterProcess]

RESIZES = ("300m", "64", "200m")  # the second is more than the node has: refused


def ask(cluster: Cluster, namespace: str, name: str, cpu: str) -> None:
    """Ask for so much CPU for its main container."""
    pod = pod_now(cluster, namespace, name)
    assert pod is not None
    (main,) = (one for one in pod["spec"]["containers"] if one["name"] == "main")
    main["resources"]["requests"]["cpu"] = main["resources"]["limits"]["cpu"] = cpu
    cluster.request("PUT", f"{path_of('Pod', namespace)}/{name}/resize", pod)


def test_each_slice_is_what_the_kubelet_gave_it(
    cluster: Cluster, namespace: str, meter_of: Make
) -> None:
    meter = meter_of()
    meter.start()
    uid = make_pod(cluster, namespace, step_pod("grows", "time.sleep(25)"))
    until_phase(cluster, namespace, "grows", "Running")
    time.sleep(2)
    seen = []
    for cpu in RESIZES:
        before = time.time()
        ask(cluster, namespace, "grows", cpu)
        if cpu == "64":
            time.sleep(4)
            continue
        cores = round(float(cpu.removesuffix("m")) / 1000 + 0.01, 6)
        until_true(lambda cores=cores: _held(cluster, namespace) == cores, 20)
        seen.append((before, time.time(), cores))
    until_phase(cluster, namespace, "grows", "Succeeded")
    work = [row for row in meter.until_closed(uid)[uid] if row.phase == "work"]
    assert [round(row.cpu_request_cores, 6) for row in work] == [0.11, 0.31, 0.21]
    for row, other, (asked, there, _) in zip(work, work[1:], seen, strict=False):
        assert row.end_microseconds == other.start_microseconds
        assert asked - 1 <= other.start_microseconds / 1e6 <= there + 1
    assert meter.health()["code"] == 200, meter.problems()
    meter.stop()


def _held(cluster: Cluster, namespace: str) -> float:
    pod = pod_now(cluster, namespace, "grows")
    assert pod is not None
    return round(held(pod_holding(pod)).cpu_cores, 6)
