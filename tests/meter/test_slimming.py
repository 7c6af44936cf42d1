"""What is kept of a pod in memory bills the same as all of it."""

import json

import pytest

from helpers.meter.told import FOLDER, LABELS, PRICED, created, node
from tally.costing.usage import Usage
from tally.kube.nodelife import node_life
from tally.kube.podusage import pod_usage
from tally.kube.template import Object
from tally.machines.shares import price_shares
from tally.meter import slimming

pytestmark = pytest.mark.exact

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def rows(pod: Object, *, gone: bool) -> list[Usage]:
    now = created(pod) + 60 * 10**6
    (life,) = node_life(
        node(), PRICED, price_shares(4, 16 << 30, 0), now_microseconds=now, gone=False,
        last_heard_microseconds=now, before=None,
    )  # fmt: skip
    return pod_usage(pod, life, now_microseconds=now, used=None, gone=gone, before=[])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gone", [False, True])
def test_a_slim_pod_has_the_same_rows(name: str, gone: bool) -> None:
    pod = json.loads((FOLDER / f"{name}.json").read_text())
    slim = slimming.pod(pod)
    assert rows(slim, gone=gone) == rows(pod, gone=gone)
    assert slimming.pod(slim) == slim


def test_a_pod_of_a_pipeline_shrinks_to_a_fraction() -> None:
    pod = json.loads((FOLDER / "kfp-executor.json").read_text())
    assert len(json.dumps(slimming.pod(pod))) < len(json.dumps(pod)) / 3


def test_a_node_keeps_its_labels_and_what_it_has() -> None:
    slim = slimming.node({**node(), "spec": {"podCIDR": "10.0.0.0/24"}})
    assert slim["metadata"]["labels"] == LABELS
    assert "spec" not in slim
    assert slim["status"]["capacity"] == {"cpu": "4", "memory": "16Gi"}
