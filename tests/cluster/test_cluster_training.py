"""Trainings on a real cluster: whatever happens to the gang, the same weights come out."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from helpers.cluster.conducting import until_workers
from helpers.cluster.objects import (
    delete,
    every,
    kill_from_the_node,
    labelled_nodes,
    path_of,
    until_true,
)
from helpers.cluster.training_pods import EXAMPLES, Store, Training
from tally.kube.cluster import Cluster
from tally.kube.reasons import worker_name

Make = Callable[..., Any]

EPOCHS = 90
# deterministic: the weights are equal bit by bit, whatever became of the gang
ASKED = {
    "model": "cnn",
    "dataset": "digits",
    "augment": 1,
    "epochs": EPOCHS,
    "batch_size": 64,
    "deterministic": "true",
    "virtual_shards": 6,
    "max_workers": 3,
    "checkpoint_seconds": 5,
    "machine_type": "small",
}


@pytest.fixture(scope="session")
def sizes(cluster: Cluster) -> Iterator[None]:
    """The machine types of the tests: labels of every node that is one."""
    with labelled_nodes(cluster, {"tally.dev/test-small": "yes", "tally.dev/test-other": "yes"}):
        yield


@pytest.fixture
def training(cluster: Cluster, namespace: str, spec: Make, store: Store, sizes: None) -> Training:
    made = Training(cluster, namespace, spec().run_id, store)
    made.prepare()
    return made


@pytest.fixture(scope="session")
def agreed() -> dict[str, dict[str, bytes]]:
    """The weights of the first training that ended, with which all others have to agree."""
    return {}


def check(training: Training, agreed: dict[str, dict[str, bytes]]) -> None:
    """Every example counted once, and the weights are those of every other training."""
    assert training.examples_trained() == EPOCHS * EXAMPLES
    weights = training.weights()
    assert weights == agreed.setdefault("weights", weights)
    until_true(lambda: not every(training.cluster, "Job", training.namespace), 15)


def test_two_pods_train_and_leave_the_model_in_the_store(
    training: Training, agreed: dict[str, dict[str, bytes]]
) -> None:
    began = time.monotonic()
    conductor = training.begin(**ASKED, workers=2)
    training.until_gang(conductor, "0", "1")
    print(f"training after {time.monotonic() - began:.1f} s")
    told = training.until_ended(conductor)
    print(f"ended after {time.monotonic() - began:.1f} s")
    check(training, agreed)
    losses = [event["loss"] for event in told if event["event"] == "epoch"]
    assert len(losses) == EPOCHS
    assert losses[-1] < 0.1 * losses[0]
    until_true(lambda: not every(training.cluster, "Pod", training.namespace), 15)


@pytest.mark.smoke
def test_it_grows_to_three_pods_and_shrinks_to_one_while_it_trains(
    training: Training, agreed: dict[str, dict[str, bytes]]
) -> None:
    conductor = training.begin(**ASKED, workers=2)
    training.until_gang(conductor, "0", "1")
    training.resize(conductor, "3")
    three = training.until_gang(conductor, "0", "1", "2")
    training.resize(conductor, "1")
    training.until_gang(conductor, "0", after=three["generation"])
    until_workers(training.cluster, training.namespace, 1, 30, conductor)
    training.until_ended(conductor)
    check(training, agreed)


@pytest.mark.parametrize("how", [pytest.param("delete", marks=pytest.mark.smoke), "kill"])
def test_a_pod_that_is_lost_is_replaced_while_the_other_trains(
    cluster: Cluster,
    namespace: str,
    training: Training,
    agreed: dict[str, dict[str, bytes]],
    how: str,
) -> None:
    conductor = training.begin(**ASKED, workers=2)
    two = training.until_gang(conductor, "0", "1")
    (pod,) = (p for p in every(cluster, "Pod", namespace) if worker_name(p) == "1")
    if how == "delete":
        cluster.request("DELETE", f"{path_of('Pod', namespace)}/{pod['metadata']['name']}")
    elif not kill_from_the_node(pod):
        pytest.skip("the cluster's node is another machine")
    alone = training.until_gang(conductor, "0", after=two["generation"])
    assert not alone["fresh"]
    training.until_gang(conductor, "0", "1", after=alone["generation"])
    training.until_ended(conductor)
    check(training, agreed)


def test_a_conductor_that_is_lost_with_all_it_kept_takes_its_gang_along_and_the_next_goes_on(
    cluster: Cluster, namespace: str, training: Training, agreed: dict[str, dict[str, bytes]]
) -> None:
    first = training.begin(**ASKED, workers=2)
    training.until(first, lambda e: e["event"] == "checkpoint")
    delete(cluster, "Pod", first, namespace)  # at once: no signal, and its emptyDir goes with it
    began = time.monotonic()
    until_true(lambda: not every(cluster, "Pod", namespace), 30)
    print(f"the gang was gone {time.monotonic() - began:.1f} s after its conductor")
    until_true(lambda: not every(cluster, "Job", namespace), 10)
    second = training.begin(attempt=2, **ASKED, workers=2)
    started = training.until(second, lambda e: e["event"] == "started")
    assert started["resumed_from_microseconds"]
    assert (started["epoch"], started["offset"]) > (0, 0)
    training.until_ended(second)
    check(training, agreed)


def test_a_conductor_that_is_told_to_end_leaves_a_checkpoint_and_no_gang(
    cluster: Cluster, namespace: str, training: Training
) -> None:
    conductor = training.begin(**{**ASKED, "checkpoint_seconds": 3600}, workers=2)
    training.until(conductor, lambda e: e["event"] == "progress" and e.get("epoch"))
    cluster.request("DELETE", f"{path_of('Pod', namespace)}/{conductor}")  # it has 2 s
    until_true(lambda: not every(cluster, "Job", namespace), 10)
    until_true(lambda: not every(cluster, "Pod", namespace), 30)
    assert training.store.keys(f"runs/{training.run_id}/checkpoints/")


def test_the_machine_type_changes_while_it_trains(
    cluster: Cluster, namespace: str, training: Training, agreed: dict[str, dict[str, bytes]]
) -> None:
    conductor = training.begin(**ASKED, workers=2)
    two = training.until_gang(conductor, "0", "1")
    training.resize(conductor, "1", "--machine", "other")
    training.until_gang(conductor, "1.0", after=two["generation"])
    until_true(lambda: len(every(cluster, "Pod", namespace)) == 1, 30)
    (pod,) = every(cluster, "Pod", namespace)
    assert pod["spec"]["nodeSelector"] == {"tally.dev/test-other": "yes"}
    told = training.until_ended(conductor)
    assert not [e for e in told if e["event"] == "generation" and e["fresh"]][1:]
    check(training, agreed)


def test_a_training_for_which_no_node_has_room_fails_with_the_schedulers_words(
    cluster: Cluster, namespace: str, training: Training
) -> None:
    conductor = training.begin(**{**ASKED, "machine_type": "huge"}, workers=1)
    until_true(lambda: every(cluster, "Job", namespace), 120)
    began = time.monotonic()
    failed = until_true(
        lambda: [e for e in training.events(conductor) if e["event"] == "failed"], 20
    )[0]
    seconds = time.monotonic() - began
    print(f"failed after {seconds:.1f} s: {failed['message']}")
    assert seconds < 15
    assert "node(s)" in failed["message"]
    until_true(lambda: not every(cluster, "Job", namespace), 15)
