"""Past lives of a pipeline's pods, over HTTP out of a real ledger; who may see them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.meter.told import created, made, node, recorded
from helpers.metered_runs import HOUR, NOON, SECOND, life, pod, run
from helpers.served_meter import OWN, Meter, served_meter, token_of
from tally.costing.lives import Life
from tally.costing.quotes import RunEvent
from tally.meter.known import Known
from tally.meter.oom import oom_events
from tally.meterclient import MeterClient

START = NOON - HOUR
MIB = 1 << 20


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """A run of team-a with a step's pod, its driver, and a worker that was killed."""
    with served_meter(tmp_path, monkeypatch) as meter:
        meter.ledger.put_new_runs([run(), run("run-b", team="team-b")])
        minute = START + 60 * SECOND
        used = {"cpu_used_core_seconds": 17.5, "memory_peak_bytes": 700 * MIB}
        meter.ledger.write_usage(life("pod-a", START, minute, worker="123", **used))
        meter.ledger.write_usage(life("pod-d", START, minute, worker="driver-122", **used))
        meter.ledger.write_usage(life("pod-w", START, minute + SECOND, worker="0"))
        told = pod("pod-w", "work", START, minute, source="conductor")
        meter.ledger.write_usage([told])
        killed = {"pod_uid": "pod-w", "memory_limit_bytes": 2048 * MIB, "worker": "0"}
        words = {"pod_uid": "pod-a", "memory_limit_bytes": "much"}
        theirs = killed | {"pod_uid": "pod-a", "memory_limit_bytes": MIB}  # of another's run-a
        said = (("team-a", killed), ("team-a", words), ("team-b", theirs))
        oom = RunEvent(run_id="run-a", at_microseconds=NOON, kind="oom", step="train")
        meter.ledger.write_events(
            replace(oom, namespace=namespace, facts=facts) for namespace, facts in said
        )
        other = {"run_id": "run-b", "namespace": "team-b", "team": "team-b"}
        meter.ledger.write_usage(life("pod-b", START, minute, **other))
        yield meter


def client(meter: Meter, namespace: str = "team-a") -> MeterClient:
    def token(*, afresh: bool = False) -> str:
        return token_of(namespace)

    found = MeterClient.from_environment({"TALLY_METER_URL": meter.url}, token)
    assert found is not None
    return found


def test_a_life_is_what_its_work_used_its_peak_and_how_it_was_killed(meter: Meter) -> None:
    found = client(meter).lives("cnn")
    assert found == [
        Life(
            step="train", is_worker=True, ended_at_microseconds=START + 61 * SECOND,
            work_seconds=36.0, cpu_request_cores=1.0, cpu_core_seconds=0.0, memory_peak_bytes=0,
            oom_limit_bytes=2048 * MIB,
        ),
        Life(
            step="train", is_worker=False, ended_at_microseconds=START + 60 * SECOND,
            work_seconds=35.0, cpu_request_cores=1.0, cpu_core_seconds=17.5,
            memory_peak_bytes=700 * MIB,
        ),
    ]  # fmt: skip
    assert client(meter).lives("rnn") == []
    assert client(meter).lives("cnn", since_microseconds=NOON) == []


def test_lives_are_those_of_the_callers_namespace_or_of_one_that_it_may_see(meter: Meter) -> None:
    assert len(client(meter, "team-b").lives("cnn")) == 1
    assert meter.ask("GET", "/v1/lives?pipeline=cnn&namespace=team-a", token_of("team-b"))[0] == 403
    meter.reviews.may.add(("team-c", "get", "team-a"))
    assert len(client(meter, "team-c").lives("cnn", namespace="team-a")) == 2
    assert len(client(meter, OWN).lives("cnn", namespace="team-a")) == 2


@pytest.mark.parametrize("query", ["", "pipeline=", "pipeline=a%00b", "pipeline=cnn&namespace=..",
                                   "pipeline=cnn&since=x"])  # fmt: skip
def test_a_bad_question_is_refused_in_a_sentence(meter: Meter, query: str) -> None:
    status, answer = meter.ask("GET", f"/v1/lives?{query}")
    assert status == 400
    assert "expected" in answer["error"]


def test_a_steps_pod_that_was_killed_for_its_memory_is_an_event_of_its_run() -> None:
    killed = recorded("kfp-executor")
    (main,) = (c for c in killed["spec"]["containers"] if c["name"] == "main")
    main["resources"] = {"limits": {"memory": "2Gi"}}
    for status in killed["status"]["containerStatuses"]:
        if status["name"] == "main":
            status["state"]["terminated"].update(reason="OOMKilled", exitCode=137)
    for one, expected in ((killed, 1), (recorded("kfp-executor"), 0), (recorded("oom"), 0)):
        known = Known()
        known.see_node(node(), created(one), gone=False)
        known.see_pod(one, created(one) + 600 * SECOND, gone=False)
        rows = made(known, created(one) + 600 * SECOND).usage
        found = oom_events(rows, known.pods)
        assert len(found) == expected  # a gang's conductor tells of its worker itself
        for event in found:
            assert (event.run_id, event.kind) == (
                one["metadata"]["labels"]["pipeline/runid"],
                "oom",
            )
            assert event.facts["memory_limit_bytes"] == 2048 * MIB
            assert event.facts["pod_uid"] == one["metadata"]["uid"]
            assert event.step == rows[-1].step != ""
