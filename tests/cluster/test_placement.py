"""The real scheduler puts workers where their machine type says, and nowhere else."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.cluster.objects import IMAGE, apply, delete, every, until_true
from helpers.learning.made_training import pictures
from tally import clock
from tally.costing.plan import Plan
from tally.data.format import open_dataset
from tally.kube.cluster import Cluster, Refused
from tally.kube.template import worker_template
from tally.machines.catalogue import load, machine
from tally.machines.shape import Gpu, Tpu
from tally.spec import validate
from tally.steps import quoting_cluster
from tally.steps.asked import Asked
from tally.steps.train import planned

Make = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def fake_nodes(cluster: Cluster) -> Iterator[None]:
    nodes = list(yaml.safe_load_all((Path(__file__).parent / "fake-nodes.yaml").read_text()))

    def ready(name: str) -> bool:
        conditions = cluster.request("GET", f"api/v1/nodes/{name}")["status"].get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    for node in nodes:
        delete(cluster, "Node", node["metadata"]["name"])
    try:
        for node in nodes:
            status = node.pop("status")
            apply(cluster, node)
            path = f"api/v1/nodes/{node['metadata']['name']}/status"
            cluster.request("PATCH", path, {"status": status})
        for node in nodes:
            until_true(lambda n=node: ready(n["metadata"]["name"]), 30)
        yield
    finally:
        for node in nodes:
            delete(cluster, "Node", node["metadata"]["name"])


def _placed(cluster: Cluster, namespace: str, workers: int) -> list[str]:
    """The nodes of so many pods, once all have one."""
    nodes = [pod["spec"].get("nodeName") for pod in every(cluster, "Pod", namespace)]
    return nodes if len(nodes) == workers and all(nodes) else []


@pytest.mark.parametrize(
    ("name", "workers", "places"),
    [
        ("n2-standard-4", 1, {"fake-cpu-0"}),
        ("g2-standard-4", 2, {"fake-l4-0", "fake-l4-1"}),
        ("ct5lp-hightpu-8t", 1, {"fake-v5e-2x4"}),
    ],
)
def test_a_machine_types_workers_are_placed_on_its_nodes(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    gang_of: Make,
    name: str,
    workers: int,
    places: set[str],
) -> None:
    gang, _ = gang_of(spec(), worker_template(machine(name), IMAGE))
    gang.start(workers)
    assert set(until_true(lambda: _placed(cluster, namespace, workers), 30)) == places


@pytest.mark.parametrize(
    ("name", "workers", "places"),
    [
        ("g2-standard-4", 2, {"fake-l4-0", "fake-l4-1"}),
        ("ct5lp-hightpu-8t", 1, {"fake-v5e-2x4"}),
    ],
)
def test_planned_workers_are_placed_by_the_plans_selector_toleration_and_accelerator(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    gang_of: Make,
    tmp_path: Path,
    name: str,
    workers: int,
    places: set[str],
) -> None:
    asked = Asked(
        pipeline="cnn",
        spec=validate("here", {"machine_type": name, "workers": workers}),
        dataset=open_dataset(pictures(tmp_path / "shapes")),
        value_of_hour_usd=1.0,
        created_at_microseconds=clock.now_microseconds(),
    )
    made = quoting_cluster.there(load(), asked, {}).plan.as_json()
    plan = Plan.from_json(json.loads(json.dumps(made)))  # as it comes out of the plan step
    begins = planned(asked.spec, plan)
    gang, _ = gang_of(spec(), worker_template(machine(begins.machine_type), IMAGE))
    gang.start(begins.workers)
    assert set(until_true(lambda: _placed(cluster, namespace, workers), 30)) == places
    offer = plan.offers[0]
    for pod in every(cluster, "Pod", namespace):
        wanted, (container,) = pod["spec"], pod["spec"]["containers"]
        assert offer.node_selector.items() <= wanted["nodeSelector"].items()
        assert all(dict(one) in wanted["tolerations"] for one in offer.tolerations)
        count = container["resources"]["requests"][offer.accelerator]
        assert int(count) == offer.accelerator_count > 0


def test_no_worker_without_an_accelerator_takes_a_node_that_has_one(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    gang, _ = gang_of(spec(), template(node_selector={"tally.dev/fake": "yes"}, cpu_cores=3))
    gang.start(3)  # one after another: the only node for them has room for one
    places = until_true(lambda: _placed(cluster, namespace, 3), 30)
    assert set(places) == {"fake-cpu-0"}


def test_what_no_node_has_is_told_within_15_seconds_in_the_schedulers_words(
    spec: Make, template: Make, gang_of: Make
) -> None:
    """Too many of them, another type, another topology: of each a gang, all at once."""
    waiting = []
    for accelerator in (
        Gpu(type="nvidia-l4", count=4),
        Gpu(type="nvidia-h100-80gb", count=1),
        Tpu(type="tpu-v5-lite-podslice", topology="4x4", count=16),
    ):
        gang, told = gang_of(spec(), template(accelerator=accelerator))
        gang.start(1)
        waiting.append((time.monotonic(), told))
    for began, told in waiting:
        change = told.until(lambda c: c.cause, max(0.1, began + 15 - time.monotonic()))
        assert change.cause == "unschedulable"
        assert re.match(r"Unschedulable: 0/\d+ nodes are available: .*\d+ ", change.reason)


def test_the_api_server_takes_every_machine_types_pod(
    cluster: Cluster, namespace: str, spec: Make
) -> None:
    from tally.kube.manifests import gang_objects

    types = [m for m in load().machine_types.values() if m.kubernetes]
    assert len(types) >= 3
    for kind in types:
        job = gang_objects(spec(), worker_template(kind, IMAGE), b"t", 1).job
        path = f"apis/batch/v1/namespaces/{namespace}/jobs"
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        try:
            cluster.request("POST", path, job, query=query)
        except Refused as error:
            pytest.fail(f"{kind.name}: {error}")
