"""/v1 over HTTP, with a real ledger: who reads what, and what posting does."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from helpers.metered_runs import HOUR, NOON, SECOND, life, node, pod, run
from helpers.served_meter import OWN, Meter, served_meter, token_of
from tally.costing.documents import bill_of, usage_of
from tally.costing.merge import merge
from tally.meter import answers

START = NOON - HOUR
DOCUMENTS = Path(__file__).parent / "documents"
OF_RUN_A = {"run_id": "run-a", "namespace": "team-a"}


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """One run of team-a, one of team-b, each of one worker for 30 minutes on one node."""
    with served_meter(tmp_path, monkeypatch) as meter:
        meter.ledger.write_nodes([node()])
        meter.ledger.put_new_runs([run(), run("run-b", team="team-b")])
        meter.ledger.write_usage(life("pod-a", START, START + HOUR // 2, worker="0"))
        other = {"run_id": "run-b", "namespace": "team-b", "team": "team-b"}
        meter.ledger.write_usage(life("pod-b", START, START + HOUR // 2, **other))
        yield meter


def said(phase: str, start: int, stop: int | None, **fields: object) -> dict[str, object]:
    """What a conductor says of pod-a."""
    return {
        "pod_uid": "pod-a",
        "phase": phase,
        "start_microseconds": start,
        "end_microseconds": stop,
        "heartbeat_at_microseconds": stop or start,
        **fields,
    }


def test_a_bill_comes_through_with_every_digit(meter: Meter) -> None:
    status, answer = meter.ask("GET", "/v1/runs/run-a/bill")
    assert (status, answer["schema"]) == (200, 1)
    bill = meter.ledger.bill("run-a")
    assert bill_of(answer["bill"]) == bill
    assert bill.hardware_usd > Decimal("0.01")


def test_usage_comes_through_as_the_ledger_has_it(meter: Meter) -> None:
    _, answer = meter.ask("GET", "/v1/runs/run-a/usage")
    assert sorted(map(str, map(usage_of, answer["usage"]))) == sorted(
        map(str, meter.ledger.usage(["run-a"]))
    )


def test_runs_are_those_of_the_callers_namespace(meter: Meter) -> None:
    _, answer = meter.ask("GET", "/v1/runs")
    assert [row["run"]["id"] for row in answer["runs"]] == ["run-a"]
    assert bill_of(answer["runs"][0]["bill"]) == meter.ledger.bill("run-a")


def test_the_meters_own_namespace_and_a_reader_read_everything(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, answer = meter.ask("GET", "/v1/runs", token_of(OWN))
    assert {row["run"]["id"] for row in answer["runs"]} == {"run-a", "run-b"}
    assert meter.ask("GET", "/v1/runs/run-b/bill", token_of(OWN))[0] == 200
    assert meter.ask("GET", "/v1/runs", token_of("finance"))[1]["runs"] == []
    folder = tmp_path / "second"
    folder.mkdir()
    with served_meter(folder, monkeypatch, readers=frozenset({"finance"})) as second:
        second.ledger.put_new_runs([run()])
        _, answer = second.ask("GET", "/v1/runs", token_of("finance"))
        assert [row["run"]["id"] for row in answer["runs"]] == ["run-a"]


def test_runs_since_a_time_and_only_so_many(meter: Meter) -> None:
    meter.ledger.put_new_runs([run("run-c", created_at_microseconds=NOON)])
    _, answer = meter.ask("GET", f"/v1/runs?since={NOON}")
    assert [row["run"]["id"] for row in answer["runs"]] == ["run-c"]
    _, answer = meter.ask("GET", "/v1/runs?limit=1")
    assert ([row["run"]["id"] for row in answer["runs"]], answer["more"]) == (["run-c"], True)
    assert answer["runs"][0]["bill"]["run_id"] == "run-c"
    _, answer = meter.ask("GET", "/v1/runs?bills=0")
    assert [(row["run"]["id"], row["bill"]) for row in answer["runs"]] == [
        ("run-c", None),
        ("run-a", None),
    ]
    for bad in ("bills=2", "since=yesterday", "since=-1", "limit=1001", "limit=9" + "9" * 30):
        status, answer = meter.ask("GET", f"/v1/runs?{bad}")
        assert status == 400 and bad.partition("=")[0] in answer["error"]


@pytest.mark.parametrize("what", ["", "/usage", "/quote", "/bill", "/events"])
def test_a_run_of_another_namespace_is_refused(meter: Meter, what: str) -> None:
    status, answer = meter.ask("GET", f"/v1/runs/run-b{what}")
    assert status == 403 and "run-b" not in answer["error"] and "team-b" not in answer["error"]
    assert meter.ask("GET", f"/v1/runs/run-x{what}")[0] == 404


def test_posting_to_a_run_of_another_namespace_changes_nothing(meter: Meter) -> None:
    before = meter.ledger.usage(["run-b"])
    bodies = {
        "usage": {"usage": [said("work", START, None, pod_uid="pod-b")]},
        "events": {"events": [{"at_microseconds": NOON, "kind": "note"}]},
        "quote": {"quote": {**QUOTE, "made_at_microseconds": NOON}},
    }
    for token in (token_of("team-a"), token_of(OWN)):  # the meter's own namespace only reads
        for what, body in bodies.items():
            assert meter.ask("POST", f"/v1/runs/run-b/{what}", token, body=body)[0] == 404
    assert meter.ledger.usage(["run-b"]) == before
    assert not meter.ledger.events("run-b") and meter.ledger.quote("run-b") is None


def test_a_label_on_another_namespaces_pod_gives_no_access(meter: Meter) -> None:
    thief = life("thief", START - HOUR, START + HOUR, namespace="team-b", team="team-b")
    meter.ledger.write_usage(thief)  # its label says run-a, and it began before
    assert meter.ask("GET", "/v1/runs/run-a/bill", token_of("team-b"))[0] == 404  # none of its own
    assert meter.ask("GET", "/v1/runs/run-a/bill?namespace=team-a", token_of("team-b"))[0] == 403
    assert meter.ask("GET", "/v1/runs/run-a/bill")[0] == 200
    for team in ("team-a", "team-b"):
        _, answer = meter.ask("GET", "/v1/runs/run-a/usage", token_of(team))
        assert {row["namespace"] for row in answer["usage"]} == {team}


def test_a_run_without_a_record_is_each_namespaces_that_has_a_pod_of_it(meter: Meter) -> None:
    meter.ledger.write_usage(life("new", START, None, run_id="run-new"))
    assert meter.ask("GET", "/v1/runs/run-new/usage")[0] == 200
    for what in ("", "/bill"):
        assert meter.ask("GET", f"/v1/runs/run-new{what}")[0] == 404  # it has none yet
    body = {"events": [{"at_microseconds": NOON, "kind": "note"}]}
    assert meter.ask("POST", "/v1/runs/run-new/events", body=body)[0] == 200
    meter.ledger.write_usage(life("other", START, None, run_id="run-new", namespace="team-b"))
    for team, uid in (("team-a", "new"), ("team-b", "other")):
        _, answer = meter.ask("GET", "/v1/runs/run-new/usage", token_of(team))
        assert {row["pod_uid"] for row in answer["usage"]} == {uid}


def test_a_run_of_a_laptop_is_no_namespaces(meter: Meter) -> None:
    meter.ledger.put_new_runs([run("run-l", engine="local", team="local")])
    assert meter.ask("GET", "/v1/runs/run-l/bill", token_of("local"))[0] == 404
    assert meter.ask("GET", "/v1/runs/run-l/bill", token_of(OWN))[0] == 200


def test_a_conductor_splits_its_workers_work_and_decides_nothing_else(meter: Meter) -> None:
    begun = START + 25 * SECOND
    lie = {
        "source": "pod", "namespace": "team-b", "team": "team-b", "run_id": "run-b",
        "price_usd_per_hour": 0.0, "machine_type": "free", "node_uid": "x", "step": "s",
        "worker": "9", "cpu_request_cores": 0.0, "catalogue_version": "mine",
        "cpu_used_core_seconds": 1e9,
    }  # fmt: skip
    rows = [
        said("work", begun + 600 * SECOND, START + HOUR // 2, **lie, wait_seconds=60.0),
        said("restart", begun, begun + 600 * SECOND, **lie),
    ]
    before = meter.ledger.bill("run-a")
    status, answer = meter.ask("POST", "/v1/runs/run-a/usage", body={"usage": rows})
    assert (status, answer["accepted"]) == (200, 2)
    assert (answer["unknown_pods"], answer["outside_rows"]) == ([], 0)
    posted = [row for row in meter.ledger.usage(["run-a"]) if row.source == "conductor"]
    (pod_row,) = (
        r for r in meter.ledger.usage(["run-a"]) if r.source == "pod" and r.phase == "work"
    )
    for row in posted:
        same = replace(
            pod_row, source="conductor", phase=row.phase, wait_seconds=row.wait_seconds,
            start_microseconds=row.start_microseconds, end_microseconds=row.end_microseconds,
            heartbeat_at_microseconds=row.heartbeat_at_microseconds,
        )  # fmt: skip
        assert row == same
    after = meter.ledger.bill("run-a")
    assert after.total_usd == before.total_usd
    assert {line.phase: line.seconds for line in after.lines}["restart"] == 600
    merged = [row for row in merge(meter.ledger.usage(["run-a"])) if row.phase != "queue"]
    assert sum(row.wait_seconds for row in merged) == pytest.approx(60)
    assert all(row.confirmed for row in merged)
    assert not [row for row in meter.ledger.usage(["run-b"]) if row.source == "conductor"]


def test_a_pod_waits_no_longer_than_it_lasts(meter: Meter) -> None:
    row = said("work", START + 25 * SECOND, START + 35 * SECOND, wait_seconds=1e12)
    assert meter.ask("POST", "/v1/runs/run-a/usage", body={"usage": [row]})[0] == 200
    (posted,) = (r for r in meter.ledger.usage(["run-a"]) if r.source == "conductor")
    assert posted.wait_seconds == 10


def test_pods_that_the_meter_does_not_know_in_this_run_are_told_back_and_not_kept(
    meter: Meter,
) -> None:
    meter.ledger.write_usage([pod("waits", "queue", START, None, node_uid="")])
    rows = [
        said("work", START + 25 * SECOND, None, pod_uid=uid)
        for uid in ("pod-b", "nobody", "waits", "pod-a")
    ]
    status, answer = meter.ask("POST", "/v1/runs/run-a/usage", body={"usage": rows})
    assert status == 200
    assert (answer["accepted"], answer["unknown_pods"]) == (1, ["nobody", "pod-b", "waits"])
    assert [r.pod_uid for r in meter.ledger.usage() if r.source == "conductor"] == ["pod-a"]
    meter.ledger.write_usage([pod("nobody", "work", START, None)])  # now it does
    _, answer = meter.ask("POST", "/v1/runs/run-a/usage", body={"usage": rows})
    assert answer["accepted"] == 2


QUOTE = {
    "made_at_microseconds": START,
    "low_usd": 1.2,
    "expected_usd": 1.4,
    "high_usd": 1.6,
    "budget_usd": None,
    "document": {"pick": {"machine_type": "n2-standard-4", "workers": 2}},
}


def test_posting_twice_is_posting_once(meter: Meter) -> None:
    begun = START + 25 * SECOND
    posts = {
        "usage": {"usage": [said("restart", begun, begun + SECOND)]},
        "events": {"events": [{"at_microseconds": NOON, "kind": "oom", "facts": {"worker": "0"}}]},
        "quote": {"quote": QUOTE},
    }
    for what, body in posts.items():
        first = meter.ask("POST", f"/v1/runs/run-a/{what}", body=body)
        again = meter.ask("POST", f"/v1/runs/run-a/{what}", body=body)
        anew = meter.ask("POST", f"/v1/runs/run-a/{what}", body=body, key="another")
        assert first == again == anew and first[0] == 200
    assert len([r for r in meter.ledger.usage(["run-a"]) if r.source == "conductor"]) == 1
    assert len(meter.ledger.events("run-a")) == 1


def test_a_key_is_good_for_one_body(meter: Meter) -> None:
    body = {"events": [{"at_microseconds": NOON, "kind": "note"}]}
    assert meter.ask("POST", "/v1/runs/run-a/events", body=body)[0] == 200
    status, answer = meter.ask("POST", "/v1/runs/run-a/events", body={"events": []})
    assert status == 409 and "Idempotency-Key" in answer["error"]
    for key in (None, "", "x" * 129, "a b", "ключ".encode().decode("latin-1")):
        status, answer = meter.ask("POST", "/v1/runs/run-a/events", body=body, key=key)
        assert status == 400 and "Idempotency-Key" in answer["error"]


def test_a_quote_and_events_come_back_and_an_older_quote_changes_nothing(meter: Meter) -> None:
    assert meter.ask("GET", "/v1/runs/run-a/quote")[1]["quote"] is None
    meter.ask("POST", "/v1/runs/run-a/quote", body={"quote": QUOTE})
    older = {**QUOTE, "made_at_microseconds": START - 1, "high_usd": 99}
    assert meter.ask("POST", "/v1/runs/run-a/quote", body={"quote": older}, key="k2")[0] == 200
    assert meter.ask("GET", "/v1/runs/run-a/quote")[1]["quote"] == {**OF_RUN_A, **QUOTE}
    event = {"at_microseconds": NOON, "kind": "resize", "step": "train", "facts": {"workers": 3}}
    meter.ask("POST", "/v1/runs/run-a/events", body={"events": [event]})
    assert meter.ask("GET", "/v1/runs/run-a/events")[1]["events"] == [{**OF_RUN_A, **event}]


def test_what_the_steps_measured_is_on_the_bill(meter: Meter) -> None:
    facts = [{"examples_trained": 1437}, {"test_accuracy": 0.98, "note": "text"}]
    events = [
        {"at_microseconds": NOON, "kind": "measured", "step": "train", "facts": fact}
        for fact in facts
    ]
    assert meter.ask("POST", "/v1/runs/run-a/events", body={"events": events})[0] == 200
    bill = bill_of(meter.ask("GET", "/v1/runs/run-a/bill")[1]["bill"])
    assert (bill.examples, bill.result) == (1437, 0.98)
    assert bill.usd_per_example == bill.total_usd / 1437


def test_a_run_on_a_machine_without_a_price_has_no_bill_and_says_why(meter: Meter) -> None:
    free = {"machine_type": "new-9", "price_usd_per_hour": 0.0, "catalogue_version": ""}
    meter.ledger.write_usage(life("pod-f", START, START + HOUR, run_id="run-f", **free))
    meter.ledger.put_new_runs([run("run-f")])
    status, answer = meter.ask("GET", "/v1/runs/run-f/bill")
    assert status == 422 and "machine_types.new-9" in answer["error"]
    _, answer = meter.ask("GET", "/v1/runs")
    assert ["new-9"] in [row["bill"]["unpriced"] for row in answer["runs"]]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"wait_seconds": -1}, "usage[1].wait_seconds"),
        ({"wait_seconds": "1"}, "usage[1].wait_seconds"),
        ({"phase": "queue"}, "usage[1].phase"),
        ({"pod_uid": ""}, "usage[1].pod_uid"),
        ({"pod_uid": "x" * 129}, "usage[1].pod_uid"),
        ({"pod_uid": 7}, "usage[1].pod_uid"),
        ({"attempt": 0}, "usage[1].attempt"),
        ({"attempt": True}, "usage[1].attempt"),
        ({"start_microseconds": 1.5}, "usage[1].start_microseconds"),
        ({"start_microseconds": 2**53}, "usage[1].start_microseconds"),
        ({"end_microseconds": START - 1}, "usage[1].end_microseconds"),
        ({"heartbeat_at_microseconds": None}, "usage[1].heartbeat_at_microseconds"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_a_bad_row_is_refused_by_field_and_none_is_kept(
    meter: Meter, row: dict[str, object], field: str
) -> None:
    good = said("work", START + 25 * SECOND, START + 35 * SECOND)
    status, answer = meter.ask("POST", "/v1/runs/run-a/usage", body={"usage": [good, good | row]})
    assert status == 400 and answer["error"].startswith(f"{field}: expected")
    assert not [r for r in meter.ledger.usage(["run-a"]) if r.source == "conductor"]


def test_the_documents_of_each_schema_that_is_served_are_taken(meter: Meter) -> None:
    """documents/schema-N holds what an image of N posts: it stays for as long as N is served."""
    for number in range(answers.OLDEST, answers.SCHEMA + 1):
        for path in sorted((DOCUMENTS / f"schema-{number}").glob("post-*.json")):
            what = path.stem.removeprefix("post-")
            status, answer = meter.ask(
                "POST", f"/v1/runs/run-a/{what}", body=path.read_bytes(), key=path.stem
            )
            assert (status, answer["schema"]) == (200, answers.SCHEMA), answer
            assert answer["accepted"] == 1
    (posted,) = (r for r in meter.ledger.usage(["run-a"]) if r.source == "conductor")
    assert (posted.phase, posted.attempt, posted.generation) == ("restart", 2, 4)
    assert meter.ledger.quote("run-a").budget_usd == 5.0
    assert [event.kind for event in meter.ledger.events("run-a")] == ["resize"]


def test_the_next_meter_serves_this_one_in_its_own_schema(
    meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "SCHEMA", 2)
    body = {"events": [{"at_microseconds": NOON, "kind": "note"}]}
    asked = {"Tally-Schema": "1"}
    status, answer = meter.ask("POST", "/v1/runs/run-a/events", body=body, headers=asked)
    assert (status, answer["schema"]) == (200, 1)
    assert meter.ask("GET", "/v1/runs/run-a/bill", headers=asked)[1]["schema"] == 1
    assert meter.ask("GET", "/v1/runs/run-a/bill")[1]["schema"] == 2
    monkeypatch.setattr(answers, "OLDEST", 2)
    status, answer = meter.ask("GET", "/v1/runs/run-a/bill", headers=asked)
    assert status == 400 and "expected schema 2, got 1" in answer["error"]


def test_a_newer_schema_is_refused_with_both_named(meter: Meter) -> None:
    for schema in (2, 10**9):
        body = json.dumps({"schema": schema, "events": []}).encode()
        status, answer = meter.ask("POST", "/v1/runs/run-a/events", body=body)
        assert status == 400
        assert f"expected schema 1, got {schema}; upgrade the meter" in answer["error"]
    for asked in ("2", "0", "one", "1" * 30):
        status, answer = meter.ask("GET", "/v1/runs", headers={"Tally-Schema": asked})
        assert status == 400 and "expected schema 1" in answer["error"]
    for body in (b"{}", b'{"schema": "1"}', b'{"schema": true}'):
        assert meter.ask("POST", "/v1/runs/run-a/events", body=body)[0] == 400


def test_health_is_told_to_anybody_and_says_each_problem_in_a_line(meter: Meter) -> None:
    status, answer = meter.ask("GET", "/healthz", None)
    assert (status, answer["status"], answer["problems"]) == (200, "ok", [])
    meter.health.problem("ledger", "expected room to write,\ngot 'disk full'")
    meter.health.problem("prices", "new-9 has none")
    status, answer = meter.ask("GET", "/healthz", None)
    assert (status, answer["status"]) == (503, "failing")
    assert answer["problems"] == [
        "ledger: expected room to write, got 'disk full'", "prices: new-9 has none",
    ]  # fmt: skip


def test_metrics_are_for_a_token_of_the_meters_namespace_unless_they_are_open(
    meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert meter.ask("GET", "/metrics", None)[0] == 401
    assert meter.ask("GET", "/metrics")[0] == 403
    assert meter.ask("GET", "/metrics", token_of(OWN)) == (200, "tally_cost_usd_total 1.5\n")
    folder = tmp_path / "open"
    folder.mkdir()
    with served_meter(folder, monkeypatch, metrics_open=True) as opened:
        assert opened.ask("GET", "/metrics", None)[0] == 200
        assert opened.ask("GET", "/v1/runs", None)[0] == 401
