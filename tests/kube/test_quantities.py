"""Amounts as Kubernetes writes them, and what a pod holds of its node."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.kube.recorded import recorded
from tally.errors import SpecError
from tally.kube.quantities import (
    accelerator_clients,
    amounts,
    held,
    microseconds,
    pod_holding,
    pod_request,
    quantity,
)

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100m", "0.1"), ("1.5", "1.5"), ("0", "0"), (".5", "0.5"), ("2", "2"), ("250u", "0.00025"),
        ("5n", "0.000000005"), ("1Gi", str(GIB)), ("1.5Ki", "1536"), ("512M", "512000000"),
        ("1k", "1000"), ("1e3", "1000"), ("1E3", "1000"), ("12e-3", "0.012"),
        ("1E", "1" + "0" * 18), ("8Ei", str(2**63)), ("67108864", "67108864"), ("-1", "-1"),
    ],
)  # fmt: skip
def test_a_quantity_is_read_exactly(text: str, number: str) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "1 Gi", "1KiB", "Gi", "1ki", "1,5", "0x10", "NaN", "1e9999"])
def test_what_is_no_quantity_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(SpecError, match=r"expected a number.* write it like 500m or 1Gi"):
        quantity(text)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["m", "", "k", "Mi", "Gi", "T"]))
def test_kubernetes_own_client_reads_the_same(number: int, suffix: str) -> None:
    from kubernetes.utils.quantity import parse_quantity  # takes long to import

    assert quantity(f"{number}{suffix}") == parse_quantity(f"{number}{suffix}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T02:21:43Z", 1_795_486_903_000_000),
        ("2026-11-24T02:21:43.000007Z", 1_795_486_903_000_007),
        (None, None),
        ("1970-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", None),
    ],
    ids=["seconds", "a Lease's microseconds", "none", "never started", "Go's zero"],
)
def test_a_time_is_microseconds_or_none(text: str | None, expected: int | None) -> None:
    assert microseconds(text) == expected


def asking(cpu: str, memory: str = "0", **others: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}}, **others}


@pytest.mark.parametrize(
    ("spec", "cores"),
    [
        ({"containers": [asking("1"), asking("500m")]}, 1.5),
        ({"containers": [asking("1")], "initContainers": [asking("2"), asking("500m")]}, 2),
        ({"containers": [asking("3")], "initContainers": [asking("2"), asking("2")]}, 3),
        ({"containers": [asking("1")],
          "initContainers": [asking("1", restartPolicy="Always")]}, 2),
        ({"containers": [asking("1")],
          "initContainers": [asking("1", restartPolicy="Always"), asking("4")]}, 5),
        ({"containers": [asking("1")],
          "initContainers": [asking("4"), asking("1", restartPolicy="Always")]}, 4),
        ({"containers": [asking("1")], "overhead": {"cpu": "250m"}}, 1.25),
        ({"containers": [asking("1")], "overhead": {"cpu": "250m"},
          "resources": {"requests": {"cpu": "6"}}}, 6.25),
        ({"containers": [{}], "initContainers": None}, 0),
    ],
    ids=["summed", "larger init", "smaller inits", "sidecar", "init beside a sidecar",
         "init before a sidecar", "overhead", "of the pod as a whole", "nothing"],
)  # fmt: skip
def test_a_pod_asks_for_what_the_scheduler_keeps_for_it(spec: dict[str, Any], cores: float) -> None:
    assert held(pod_request({"spec": spec})).cpu_cores == cores


def test_the_larger_of_init_and_app_is_taken_of_each_resource() -> None:
    spec = {"containers": [asking("1", "1Gi")], "initContainers": [asking("500m", "2Gi")]}
    asked = held(pod_request({"spec": spec}))
    assert (asked.cpu_cores, asked.memory_bytes) == (1.0, 2 * GIB)


def resized(asked: str, allocated: str, actuated: str) -> dict[str, Any]:
    """A pod of one core beside one whose cores were asked to be others."""
    still = {"cpu": "1"}
    both = [
        {"name": "still", "allocatedResources": still, "resources": {"requests": dict(still)}},
        {"name": "main", "allocatedResources": {"cpu": allocated, "memory": "1Gi"},
         "resources": {"requests": {"cpu": actuated, "memory": "1Gi"}}},
    ]  # fmt: skip
    containers = [asking("1", name="still"), asking(asked, "1Gi", name="main")]
    return {"spec": {"containers": containers}, "status": {"containerStatuses": both}}


@pytest.mark.parametrize(
    ("asked", "allocated", "actuated", "cores"),
    [
        ("32", "2", "2", 3),  # refused, or waiting
        ("4", "4", "2", 5),  # on its way up
        ("1", "1", "2", 3),  # on its way down
    ],
)
def test_a_resized_pod_holds_what_its_kubelet_has_allocated_or_still_gives_it(
    asked: str, allocated: str, actuated: str, cores: float
) -> None:
    assert held(pod_holding(resized(asked, allocated, actuated))).cpu_cores == cores


def test_a_resized_pod_holds_the_greater_of_sums_and_no_sum_of_the_greater() -> None:
    pod = resized("2", "2", "1")  # one grows as the other shrinks
    still = pod["status"]["containerStatuses"][0]
    still["resources"]["requests"]["cpu"] = "2"
    assert held(pod_holding(pod)).cpu_cores == 3


def test_what_the_pod_as_a_whole_has_counts_in_place_of_its_containers() -> None:
    pod = resized("2", "2", "2")
    pod["spec"]["resources"] = {"requests": {"cpu": "8"}}
    assert held(pod_holding(pod)).cpu_cores == 8
    pod["status"]["allocatedResources"] = {"cpu": "6"}
    pod["status"]["resources"] = {"requests": {"cpu": "6"}}
    assert held(pod_holding(pod)).cpu_cores == 6


def test_devices_and_a_kubelet_that_tells_nothing_leave_what_is_asked() -> None:
    pod = resized("2", "1", "1")
    pod["spec"]["containers"][1]["resources"]["requests"]["nvidia.com/gpu"] = "2"
    assert held(pod_holding(pod)).accelerators == 2
    del pod["status"]
    assert held(pod_holding(pod)).cpu_cores == 3
    real = recorded("kfp-executor")
    assert pod_holding(real) == pod_request(real)


def test_a_real_pod_of_kfp_asks_at_least_what_its_launcher_asks() -> None:
    asked = held(pod_request(recorded("kfp-executor")))
    assert (asked.cpu_cores, asked.memory_bytes) == (0.1, 256 * 2**20)  # its main: 50m, 64Mi


@pytest.mark.parametrize(
    ("resources", "clients", "expected"),
    [
        ({"nvidia.com/gpu": "2"}, 1, 2.0),
        ({"nvidia.com/gpu": "1"}, 8, 0.125),
        ({"nvidia.com/gpu.shared": "2"}, 4, 0.5),
        ({"google.com/tpu": "8"}, 4, 8.0),
        ({"amd.com/gpu": "1", "cpu": "4"}, 1, 1.0),
        ({"nvidia.com/mig-1g.5gb": "7"}, 1, 1.0),
        ({"nvidia.com/mig-3g.20gb": "2"}, 1, 6 / 7),
        ({"nvidia.com/mig-1c.2g.10gb": "1"}, 1, 1.0),
        ({"cpu": "4", "ephemeral-storage": "1Gi"}, 1, 0.0),
    ],
    ids=[
        "whole",
        "by time",
        "renamed",
        "TPU",
        "AMD",
        "MIG slices",
        "MIG 3g",
        "MIG unclear",
        "none",
    ],
)
def test_accelerators_are_counted_as_whole_ones(
    resources: dict[str, str], clients: int, expected: float
) -> None:
    assert held(amounts(resources), clients).accelerators == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "clients"),
    [
        ({}, 1),
        ({"cloud.google.com/gke-max-shared-clients-per-gpu": "8"}, 8),
        ({"nvidia.com/gpu.replicas": "4"}, 4),
        ({"nvidia.com/gpu.replicas": "0"}, 1),
        ({"nvidia.com/gpu.replicas": "many"}, 1),
    ],
)
def test_a_nodes_labels_say_how_many_share_a_gpu(labels: dict[str, str], clients: int) -> None:
    assert accelerator_clients(labels) == clients


def test_no_request_is_more_than_the_ledger_can_keep() -> None:
    pod = {"spec": {"containers": [asking("1", "8Ei"), asking("1", "8Ei")]}}
    assert held(pod_request(pod)).memory_bytes < 2**63
