"""Runs on a Kubeflow as the commands meet it: `make deploy OVERLAY=kubeflow`, connect, submit; and
what Kubeflow's own clock says of the bill. What of it is imitated says helpers/cluster/kubeflow.py.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.cluster.deploying import TALLY, kubectl
from helpers.cluster.kubeflow import NAMESPACE
from helpers.cluster.objects import every, path_of, until_true
from helpers.cluster.person import GANG_OF_ONE, Person, connected
from helpers.cluster.training_pods import Store
from helpers.money_commands import commands_agree
from tally.kube.cluster import Cluster
from tally.kube.manifests import GANG
from tally.runs.kubeflow.hearing import BACK, GONE

pytestmark = pytest.mark.timeout(900)

GIVEN_BACK_SECONDS = 10


@pytest.fixture(scope="module")
def person(
    cluster: Cluster, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Person]:
    """Two of the three commands are done."""
    with connected(cluster, store, tmp_path_factory.mktemp) as made:
        yield made


def test_a_whole_run_is_submitted_with_nothing_else_set_and_billed_by_kubeflows_clock(
    person: Person,
) -> None:
    said = person.submits("--set", "epochs=2")
    run_id, bill = said["id"], said["bill"]
    clock = person.clock_seconds(run_id)
    seconds = sum(line["seconds"] for line in bill["lines"])
    print(f"clock {clock} s, bill {json.dumps(bill)[:3000]}, lines {seconds}")
    assert bill["wall_seconds"] == pytest.approx(clock, abs=max(2.0, 0.01 * clock))
    assert 0.3 * clock < bill["platform_seconds"] < clock
    time.sleep(60)
    later = json.loads(person.does("bill", run_id, "--json"))
    assert later == bill


def test_every_command_says_the_same_of_a_run(
    person: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(person.server, "tick_seconds", 1.0)
    run_id, other = (person.submits("--set", f"epochs={epochs}")["id"] for epochs in (2, 1))
    steps = ("prepare", "plan", "train", "evaluate", "bill")
    commands_agree(person.does, run_id, other, steps, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_twenty_printed_bills_are_as_final_as_they_say(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(person.server, "tick_seconds", 1.0)
    printed = [person.submits("--set", "epochs=1") for _ in range(20)]
    time.sleep(60)
    for said in printed:
        assert said["bill_is_final"]
        assert json.loads(person.does("bill", said["id"], "--json")) == said["bill"]


def test_a_run_is_resized_from_outside_cancelled_its_gang_given_back_and_resumed(
    person: Person,
) -> None:
    long = ("--set", "epochs=10000", "--set", "max_workers=3", "--json")
    process = person.begin("submit", "cnn", *GANG_OF_ONE, *long)
    until_true(lambda: running(person, GANG), 200)
    run_id = list(person.server.begun)[-1]
    until_true(lambda: person.sizes(run_id)[-1:] == [1], 90)
    time.sleep(6)  # watching has heard of it
    for workers in (3, 2):
        said = person.does("resize", run_id, str(workers))
        assert said.startswith(f"asked {run_id} for {workers} workers")
        until_true(lambda n=workers: person.sizes(run_id)[-1] == n, 90)
        time.sleep(6)
    assert "max_workers=4" in person.does("resize", run_id, "4", code=2)
    began = time.monotonic()
    cancelling = person.begin("cancel", run_id)
    until_true(lambda: not every(person.cluster, "Job", NAMESPACE, GANG), 60)
    until_true(lambda: not every(person.cluster, "Pod", NAMESPACE, GANG), 60)
    took = time.monotonic() - began
    assert cancelling.wait(120) == 0
    said, why = process.communicate(timeout=120)
    print(f"given back after {took:.1f} s", said, why)
    assert took <= GIVEN_BACK_SECONDS
    assert json.loads(said)["state"] == "cancelled"
    lines = iter(why.splitlines())
    for wanted in (
        "train: 1 worker",
        "train: kubeflow/tally-person asks for 3 workers",
        "train: 3 workers",
        "train: kubeflow/tally-person asks for 2 workers",
        "train: 2 workers",
    ):
        assert wanted in lines, why  # after the one before it
    process = person.begin("resume", run_id, "--json")
    until_true(lambda: running(person, GANG), 200)
    person.does("cancel", run_id)
    said, why = process.communicate(timeout=120)
    print(said, why)
    bill = json.loads(said)["bill"]
    assert bill["attempts"] == 2
    assert sum(line["seconds"] for line in bill["lines"] if line["phase"] == "restart") > 0


@pytest.mark.parametrize("exit_task", [True, False], ids=["10 s", "1 s"])
def test_a_run_that_is_terminated_has_its_final_bill_with_and_without_an_exit_task(
    person: Person, exit_task: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(person.server, "tick_seconds", 10.0 if exit_task else 1.0)
    monkeypatch.setattr(person.server, "exit_task_after_termination", exit_task)
    process = person.begin("submit", "cnn", *GANG_OF_ONE, "--set", "epochs=10000", "--json")
    until_true(lambda: running(person, GANG), 200)
    run_id = list(person.server.begun)[-1]
    assert person.does("cancel", run_id) == f"cancelled {run_id}\n"
    said, why = process.communicate(timeout=200)
    print(said, why)
    assert process.returncode == 130
    told, lines = json.loads(said), why.splitlines()
    assert told["state"] == "cancelled" and told["bill_is_final"]
    assert lines[-1] == f"cancelled: run {run_id} was cancelled"
    ends = [line for line in lines if line.startswith(("bill: succeeded", "bill: skipped"))]
    assert [line.partition(" after")[0] for line in ends] == [
        "bill: succeeded" if exit_task else "bill: skipped"
    ]
    ran = any((line["step"], line["phase"]) == ("bill", "work") for line in told["bill"]["lines"])
    assert ran == exit_task
    time.sleep(60)
    assert json.loads(person.does("bill", run_id, "--json")) == told["bill"]


def test_a_lost_worker_and_a_lost_conductor_are_each_one_true_line(person: Person) -> None:
    process = person.begin("submit", "cnn", *GANG_OF_ONE, "--set", "epochs=10000")
    until_true(lambda: running(person, GANG), 200)
    (worker,) = running(person, GANG)
    remove(person, worker)
    until_true(lambda: running(person, GANG) and worker not in running(person, GANG), 60)
    time.sleep(10)  # the next generation trains
    (conductor,) = running(person, "tally.dev/step=train", without=GANG)
    remove(person, conductor)
    said, why = process.communicate(timeout=200)
    print(said, why)
    assert process.returncode == 1
    (lost,) = (line for line in said.splitlines() if "it is replaced" in line)
    assert "train: worker 0 ended: " in lost and "deleted" in lost
    assert "failed: train: the conductor's pod was gone" in why and "75" not in why


@pytest.mark.parametrize("in_time", [True, False], ids=["comes back", "after the run"])
def test_a_meter_that_is_killed_is_one_line_and_the_bill_is_final_once_it_is_back(
    person: Person, in_time: bool
) -> None:
    process = person.begin("submit", "cnn", *GANG_OF_ONE, "--set", "epochs=10000", "--json")
    until_true(lambda: running(person, GANG), 200)
    run_id = list(person.server.begun)[-1]
    until_true(lambda: person.sizes(run_id)[-1:] == [1], 90)
    meters(0)
    time.sleep(40)  # it may have 10 s to end; then a look each 5 s, for 10 s
    try:
        if in_time:
            meters(1)
            time.sleep(15)
        person.does("cancel", run_id)
        said, why = process.communicate(timeout=200)
    finally:
        meters(1)
    print(said, why)
    told, lines = json.loads(said), why.splitlines()
    assert process.returncode == 130 and told["bill_is_final"] is in_time
    assert [line for line in lines if line in (GONE, BACK)] == ([GONE, BACK] if in_time else [GONE])
    until_true(lambda: json.loads(person.does("bill", run_id, "--json"))["state"] != "running", 90)
    bill = json.loads(person.does("bill", run_id, "--json"))
    assert told["bill"] == (bill if in_time else None)
    clock = person.clock_seconds(run_id)
    assert bill["wall_seconds"] == pytest.approx(clock, abs=max(2.0, 0.01 * clock))


def meters(count: int) -> None:
    """So many meters run; with none the one that did is killed."""
    kubectl("scale", "-n", TALLY, "deployment/tally-meter", f"--replicas={count}")
    if count:
        kubectl("rollout", "status", "-n", TALLY, "deployment/tally-meter", "--timeout=120s")
    else:
        pods = "pod", "-l", "app.kubernetes.io/name=tally-meter", "--grace-period=0", "--force"
        kubectl("delete", "-n", TALLY, *pods)


def running(person: Person, selector: str, without: str = "") -> list[str]:
    """The names of pods that run."""
    names = {
        pod["metadata"]["name"]
        for pod in every(person.cluster, "Pod", NAMESPACE, selector)
        if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
    }
    return sorted(names - set(running(person, without) if without else ()))


def remove(person: Person, pod: str) -> None:
    """At once, as when a node is lost."""
    path = f"{path_of('Pod', NAMESPACE)}/{pod}"
    person.cluster.request("DELETE", path, {"gracePeriodSeconds": 0})
