"""Gangs of pods whose size is Tally's to choose, and runs with a budget, on a real cluster."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from helpers.cluster.objects import every, labelled_nodes, until_true
from helpers.cluster.training_pods import Store, Training
from tally.kube.cluster import Cluster

Make = Callable[..., Any]

ASKED = {
    "model": "cnn",
    "dataset": "digits",
    "augment": 1,
    "epochs": 10_000,
    "batch_size": 64,
    "workers": "1..2",
    "checkpoint_seconds": 5,
    "machine_type": "small",
}
WORKER_USD, TIME_USD = 0.02, 1.0  # an hour


@pytest.fixture(scope="module")
def sizes(cluster: Cluster) -> Iterator[None]:
    with labelled_nodes(cluster, {"tally.dev/test-small": "yes"}):
        yield


@pytest.fixture
def training(cluster: Cluster, namespace: str, spec: Make, store: Store, sizes: None) -> Training:
    made = Training(cluster, namespace, spec().run_id, store)
    made.prepare()
    return made


def stopped(training: Training, conductor: str) -> dict[str, Any]:
    """Wait for the end by a limit; what was said of it."""
    training.until(conductor, lambda e: e["event"] == "failed", 300)
    until_true(lambda: not every(training.cluster, "Job", training.namespace), 15)
    found = training.events(conductor)
    (event,) = (e for e in found if e["event"] == "stopped")
    (failed,) = (e for e in found if e["event"] == "failed")
    assert f"make resume RUN={training.run_id}" in failed["message"]
    return event


def test_it_changes_its_size_stops_at_its_budget_and_goes_on_with_a_higher_one(
    training: Training,
) -> None:
    seconds = 100
    budget = round(seconds * (2 * WORKER_USD + TIME_USD) / 3600, 6)
    began = time.monotonic()
    first = training.begin(**ASKED, budget_usd=budget)
    change = training.until(first, lambda e: e["event"] == "decision" and e["before"] != e["after"])
    assert (change["before"]["workers"], change["after"]["workers"]) == (1, 2)
    assert "1 × small → 2 × small" in change["reason"]
    training.until_gang(first, "0", "1")
    stop = stopped(training, first)
    until_true(lambda: len(every(training.cluster, "Pod", training.namespace)) == 0, 60)
    took = time.monotonic() - began  # more than the gang lasted: the conductor's own start too
    print(f"ended after {took:.1f} s of {seconds}: {stop}")
    assert stop["reason"] == "budget"
    assert stop["remaining_examples"] > 0
    assert stop["spent_usd"] <= budget
    assert took * TIME_USD / 3600 <= 1.02 * budget
    assert training.store.keys(f"runs/{training.run_id}/checkpoints/")

    again = training.begin(attempt=2, **ASKED, budget_usd=budget)
    assert training.until(again, lambda e: e["event"] == "failed", 60)["step"] == "train"
    assert not [e for e in training.events(again) if e["event"] == "generation"]

    higher = round(1.7 * budget, 6)
    third = training.begin(attempt=3, **ASKED, budget_usd=higher)
    started = training.until(third, lambda e: e["event"] == "started")
    assert started["resumed_from_microseconds"]
    later = stopped(training, third)
    assert later["remaining_examples"] < stop["remaining_examples"]
    assert budget < later["spent_usd"] <= higher
