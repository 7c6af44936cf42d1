"""What a run's pods may leave at the meter: so much, and not a row beyond it."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.metered_runs import HOUR, NOON, SECOND, life, node, run
from helpers.served_meter import Meter, served_meter, token_of
from helpers.tasks import finding
from tally.costing.documents import bill_document, bill_of
from tally.costing.quotes import RunEvent
from tally.meter import keeping
from tally.meter.exposition import Exposition, MeterState
from tally.meter.keeping import (
    LARGEST_EVENTS_BYTES,
    LARGEST_QUOTE_BYTES,
    MOST_CONDUCTED,
    MOST_EVENTS,
    MOST_METRICS,
)
from tally.meter.snapshot import take
from tally.tasks.kept import words as kept_words

START = NOON - HOUR
EVENTS, USAGE = "/v1/runs/run-a/events", "/v1/runs/run-a/usage"


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """A run of team-a with two pods, and one of team-b."""
    with served_meter(tmp_path, monkeypatch) as meter:
        meter.ledger.write_nodes([node()])
        meter.ledger.put_new_runs([run(), run("run-b", team="team-b")])
        for uid in ("pod-a", "pod-b"):
            meter.ledger.write_usage(life(uid, START, NOON, worker=uid))
        yield meter


def event(index: int, kind: str = "oom", **facts: object) -> dict[str, object]:
    return {"at_microseconds": START + index, "kind": kind, "step": "train", "facts": facts}


def kept(index: int, kind: str = "oom", **facts: object) -> RunEvent:
    return RunEvent(run_id="run-a", namespace="team-a", **event(index, kind, **facts))


def test_a_run_has_so_many_names_that_are_measured(meter: Meter) -> None:
    names = {f"m{index}": float(index) for index in range(MOST_METRICS)}
    body = {"events": [event(0, "measured", **names)]}
    assert meter.ask("POST", EVENTS, body=body)[0] == 200
    both = [event(1, "note"), event(2, "measured", m0=0.5, one_more=1.0, examples_trained=5)]
    status, answer = meter.ask("POST", EVENTS, body={"events": both}, key="k2")
    assert status == 422
    assert answer["error"] == (
        "metrics: expected 64 names a run at most, got 65 with 'one_more'; "
        "measure under fewer names"
    )
    assert meter.ledger.run("run-a").metrics == names  # nothing of that body
    assert meter.ledger.run("run-a").examples_trained == 0
    assert len(meter.ledger.events("run-a")) == 1
    newer = {"events": [event(3, "measured", m0=0.5, examples_trained=7)]}
    assert meter.ask("POST", EVENTS, body=newer, key="k3")[0] == 200
    assert meter.ledger.run("run-a").metrics == names | {"m0": 0.5}
    assert meter.ledger.run("run-a").examples_trained == 7


def test_a_run_has_the_words_of_a_users_task_and_its_bill_speaks_them(meter: Meter) -> None:
    words = kept_words(finding.TASK)
    told = [event(0, "measured", words=words), event(1, "measured", test_found=0.25)]
    assert meter.ask("POST", EVENTS, body={"events": told})[0] == 200
    run = meter.ledger.run("run-a")
    assert (run.words, run.metrics) == (words, {"test_found": 0.25})
    bill = bill_of(bill_document(meter.ledger.bill("run-a")))
    assert bill == meter.ledger.bill("run-a")
    assert (bill.headline, bill.result) == (finding.TASK.headline, 0.25)
    for key, odd, code, error in (
        ("k2", {"headline": "good"}, 422, "expected words of a task"),
        ("k3", words | {"more": "x" * 8192}, 413, "words: expected 8192 bytes at most"),
    ):
        body = {"events": [event(2, "measured", words=odd)]}
        status, answer = meter.ask("POST", EVENTS, body=body, key=key)
        assert status == code and error in answer["error"]
    assert meter.ledger.run("run-a").words == words


def test_a_run_has_so_many_events_and_one_that_is_there_may_be_said_again(meter: Meter) -> None:
    meter.ledger.write_events(kept(index) for index in range(MOST_EVENTS - 1))
    last, beyond = event(MOST_EVENTS), event(MOST_EVENTS + 1)
    assert meter.ask("POST", EVENTS, body={"events": [last]})[0] == 200
    for key, events in (("k2", [beyond]), ("k3", [last, beyond])):
        status, answer = meter.ask("POST", EVENTS, body={"events": events}, key=key)
        assert status == 413
        assert answer["error"] == (
            "events: expected 10000 events a run at most, got 10001; tell of less"
        )
    assert meter.ask("POST", EVENTS, body={"events": [last, event(0)]}, key="k4")[0] == 200
    assert len(meter.ledger.events("run-a")) == MOST_EVENTS
    other = {"events": [beyond]}
    answer = meter.ask("POST", "/v1/runs/run-b/events", token_of("team-b"), body=other)
    assert answer[0] == 200  # another run has room of its own


def test_a_run_has_so_many_bytes_of_events(meter: Meter) -> None:
    text = "x" * (LARGEST_EVENTS_BYTES // 16 - 12)  # with {"text": ""} a sixteenth
    meter.ledger.write_events(kept(index, text=text) for index in range(16))
    assert meter.ledger.events_kept("run-a", "team-a").bytes == LARGEST_EVENTS_BYTES
    status, answer = meter.ask("POST", EVENTS, body={"events": [event(99, text="")]})
    assert status == 413 and "expected 8388608 bytes of events' facts a run" in answer["error"]
    assert len(meter.ledger.events("run-a")) == 16
    again = {"events": [event(3, text=text)]}
    assert meter.ask("POST", EVENTS, body=again, key="k2")[0] == 200


def test_a_long_trainings_epochs_leave_room_for_what_it_measured(meter: Meter) -> None:
    meter.ledger.write_events(kept(index, "epoch") for index in range(MOST_EVENTS * 9 // 10))
    epoch = {"events": [event(10**5, "epoch")]}
    status, answer = meter.ask("POST", EVENTS, body=epoch)
    assert status == 413 and "9000 events a run at most with checkpoint or" in answer["error"]
    measured = {"events": [event(10**5, "measured", test_accuracy=0.9)]}
    assert meter.ask("POST", EVENTS, body=measured, key="k2")[0] == 200
    assert meter.ledger.run("run-a").metrics == {"test_accuracy": 0.9}


def test_a_quotes_document_is_none_too_large(meter: Meter) -> None:
    quote = {"made_at_microseconds": NOON, "low_usd": 1, "expected_usd": 2, "high_usd": 3}
    quote = {name: float(value) if "usd" in name else value for name, value in quote.items()}
    for extra, wanted in ((0, 200), (1, 413)):
        document = {"a": "x" * (LARGEST_QUOTE_BYTES - len(json.dumps({"a": ""})) + extra)}
        body = {"quote": {**quote, "made_at_microseconds": NOON + extra, "document": document}}
        status, answer = meter.ask("POST", "/v1/runs/run-a/quote", body=body, key=f"k{extra}")
        assert status == wanted
    assert "quote.document: expected 524288 bytes at most, got 524289" in answer["error"]
    assert meter.ledger.quote("run-a").made_at_microseconds == NOON


def said(uid: str, index: int, **fields: object) -> dict[str, object]:
    """An interval of a hundredth of a second."""
    start = START + 30 * SECOND + index * SECOND // 100
    return {
        "pod_uid": uid, "phase": "restart", "start_microseconds": start,
        "end_microseconds": start + SECOND // 100,
        "heartbeat_at_microseconds": start + SECOND // 100, **fields,
    }  # fmt: skip


def test_a_pod_has_so_many_rows_of_conductors_and_those_may_be_said_again(meter: Meter) -> None:
    rows = [said("pod-a", index) for index in range(MOST_CONDUCTED)]
    assert meter.ask("POST", USAGE, body={"usage": rows})[0] == 200
    later = NOON  # a newer word of the first of them
    newer = said("pod-a", 0, wait_seconds=0.005, heartbeat_at_microseconds=later)
    both = [newer, said("pod-b", 0), said("pod-a", MOST_CONDUCTED)]
    status, answer = meter.ask("POST", USAGE, body={"usage": both}, key="k2")
    assert status == 413
    assert answer["error"] == (
        "usage: expected 2000 rows of one pod at most, got 2001 of 'pod-a'; "
        "tell of longer intervals"
    )
    conducted = [row for row in meter.ledger.usage(["run-a"]) if row.source == "conductor"]
    assert len(conducted) == MOST_CONDUCTED and not any(row.wait_seconds for row in conducted)
    assert meter.ask("POST", USAGE, body={"usage": both[:2]}, key="k3")[0] == 200
    conducted = [row for row in meter.ledger.usage(["run-a"]) if row.source == "conductor"]
    assert len(conducted) == MOST_CONDUCTED + 1
    assert max(row.wait_seconds for row in conducted) == 0.005


def test_the_meter_itself_writes_at_every_limit(meter: Meter) -> None:
    meter.ledger.write_events(kept(index) for index in range(MOST_EVENTS + 1))
    rows = [row for row in life("pod-a", START, NOON) if row.phase == "work"]
    meter.ledger.write_usage(
        replace(rows[0], source="conductor", start_microseconds=START + index)
        for index in range(MOST_CONDUCTED + 1)
    )
    assert meter.ledger.conducted_kept(["pod-a", "pod-b"]) == {"pod-a": MOST_CONDUCTED + 1}
    assert meter.ledger.events_kept("run-a", "team-a").rows == MOST_EVENTS + 1


def test_two_posts_at_once_do_not_both_take_the_last_place(
    meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter.ledger.write_events(kept(index) for index in range(MOST_EVENTS - 1))
    require = keeping.require_events

    def slow(*arguments: Any) -> None:
        require(*arguments)
        time.sleep(0.3)  # between counting and writing

    monkeypatch.setattr(keeping, "require_events", slow)
    answers: list[int] = []

    def post(index: int) -> None:
        body = {"events": [event(10**5 + index)]}
        answers.append(meter.ask("POST", EVENTS, body=body, key=f"k{index}")[0])

    threads = [threading.Thread(target=post, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [200, 413]
    assert meter.ledger.events_kept("run-a", "team-a").rows == MOST_EVENTS


def test_no_word_that_is_posted_becomes_a_series(meter: Meter) -> None:
    word = "a-posted-word"
    row = said("pod-a", 0, step=word, worker=word, pipeline=word, machine_type=word, team=word)
    quote = {"low_usd": 1.0, "expected_usd": 2.0, "high_usd": 3.0, "made_at_microseconds": NOON}
    for what, body in {
        "events": [event(0, "measured", **{word: 1.0}), {**event(1, word), "step": word}],
        "usage": [row],
        "quote": {**quote, "document": {word: word}},
    }.items():
        path = f"/v1/runs/run-a/{what}"
        assert meter.ask("POST", path, body={what: body})[0] == 200
    exposition = Exposition()
    exposition.show(take(meter.ledger, NOON))
    text = exposition.text(MeterState(last_write_microseconds=None, ledger_errors=0)).decode()
    assert 'run="run-a"' in text and "tally_quote_usd" in text and word not in text
