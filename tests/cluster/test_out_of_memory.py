"""A real worker is killed by a real kubelet for its memory; the gang trains with more."""

import json
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster.objects import every, until_true
from helpers.cluster.training_pods import BUCKET, Store, node_address
from helpers.learning.made_training import TOKEN, config, pictures
from helpers.made_step import made_step
from tally.errors import RunError
from tally.gang.messages import Finished
from tally.kube.cluster import Cluster
from tally.kube.gang import KubernetesGang
from tally.learning.dataset_copy import COORDINATOR
from tally.steps.conducting import Where, conduct

Make = Callable[..., Any]
MIB = 1 << 20
TOO_LITTLE = 96 * MIB  # TensorFlow alone takes more
LIMIT = "OOMKilled: it used more memory than its limit of 96Mi"


@pytest.fixture
def run_id(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    made = f"0191f0a0-0000-7000-8000-{secrets.token_hex(6)}"
    monkeypatch.setenv("TALLY_RUN_ID", made)
    handler = signal.getsignal(signal.SIGTERM)
    yield made
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def train(
    conductor: Cluster, spec: Make, template: Make, store: Store, tmp_path: Path, run_id: str
) -> Callable[..., Finished]:
    """Train with pods of the image; the conductor is this process."""
    dataset = pictures(tmp_path / "shapes")
    place = f"s3://{BUCKET}/runs/{run_id}"
    shape = {
        "cpu_cores": 0.6,
        "memory_bytes": TOO_LITTLE,
        "command": ("python", "-m", "tally.learning.worker"),
        "environment": {
            "TALLY_STORE": f"s3://{BUCKET}",
            "AWS_ENDPOINT_URL": store.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
        },
    }
    given = replace(
        config(tmp_path, dataset), dataset=COORDINATOR,
        checkpoint_folder=f"{place}/checkpoints", model_folder=f"{place}/model", parent_pid=0,
        cores=1, max_workers=2, epochs=2,
    )  # fmt: skip

    def trained(workers: int, **changes: Any) -> Finished:
        here = made_step(tmp_path, run_id=run_id)
        return conduct(
            here, given, workers, TOKEN,
            lambda address: KubernetesGang(
                conductor, spec(run_id=run_id, coordinator=address),
                template(**{**shape, **changes}), TOKEN,
            ),
            Where(host=node_address(), dataset_folder=dataset),
        )  # fmt: skip

    return trained


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] in kinds]


def test_a_gang_whose_workers_are_killed_for_their_memory_trains_with_more(
    cluster: Cluster, namespace: str, train: Callable[..., Finished], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked: dict[str, Any] = {}
    enlarge = KubernetesGang.enlarge

    def seen(gang: KubernetesGang, workers: int) -> int:
        more = enlarge(gang, workers)
        (job,) = [
            j for j in every(cluster, "Job", namespace) if j["metadata"]["name"][-3:] == "-m1"
        ]
        (worker,) = job["spec"]["template"]["spec"]["containers"]
        asked.update(worker["resources"], workers=job["spec"]["parallelism"])
        return more

    monkeypatch.setattr(KubernetesGang, "enlarge", seen)
    began = time.monotonic()
    finished = train(2)
    print(f"killed, enlarged and trained in {time.monotonic() - began:.1f} s")
    assert finished.examples_trained == 2 * 1003
    assert asked["limits"]["memory"] == asked["requests"]["memory"] == "2Gi"
    (enlarged,) = events(tmp_path, "enlarged")
    assert (enlarged["before_bytes"], enlarged["memory_bytes"]) == (TOO_LITTLE, 2048 * MIB)
    assert any(
        note["message"].endswith(f"{LIMIT}; once, its gang gets 2048 MiB a worker instead")
        for note in events(tmp_path, "note")
    )
    # the first of the new gang trains at once: the other may come when nothing is left to do
    formed = events(tmp_path, "generation")
    assert asked["workers"] == 2
    assert formed[-1]["workers"] in (["1.0"], ["1.1"], ["1.0", "1.1"])
    until_true(lambda: not every(cluster, "Job", namespace), 15)


def test_a_second_kill_ends_the_run_in_one_line_with_what_to_do(
    train: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tally.kube.gang.after_oom_bytes", lambda limit, usual: limit + 16 * MIB)
    with pytest.raises(RunError) as caught:
        train(1)
    assert "expected worker 1.0 to fit into 112 MiB of memory, which it got after a first OOM" in (
        str(caught.value)
    )
    assert "take a larger machine type" in str(caught.value)
    assert len(events(tmp_path, "enlarged")) == 1
