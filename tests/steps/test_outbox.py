"""What steps in pods tell the meter, with real meters that come and go."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.metered_runs import HOUR, NOON, SECOND, life, node, run
from helpers.ports import HeldPort
from helpers.served_meter import Meter, served_meter, token_of, until
from tally.costing.usage import Usage
from tally.meter.rates import Rate, Rates
from tally.meter.refusal import Refusal
from tally.meterclient import MeterClient
from tally.steps import outbox as outboxes
from tally.steps.outbox import Outbox

START = NOON - HOUR
BEGUN = START + 25 * SECOND


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port that the environment says the meter is at; nobody is there yet."""
    token = tmp_path / "token"
    token.write_text(token_of("team-a"))
    monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(token))
    with HeldPort() as held:
        monkeypatch.setenv("TALLY_METER_URL", f"http://127.0.0.1:{held.number}")
        yield held.number


@pytest.fixture
def meter(address: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    with served_meter(tmp_path, monkeypatch, port=address) as meter:
        meter.ledger.write_nodes([node()])
        yield filled(meter)


def filled(meter: Meter) -> Meter:
    meter.ledger.put_new_runs([run()])
    meter.ledger.write_usage(life("pod-a", START, NOON))
    return meter


def told(uid: str = "pod-a", **fields: object) -> Usage:
    usual = {
        "run_id": "run-a", "pipeline": "cnn", "step": "train", "pod_uid": uid, "node_uid": "",
        "container": "worker", "phase": "work", "source": "conductor",
        "start_microseconds": BEGUN, "heartbeat_at_microseconds": BEGUN,
        "price_usd_per_hour": 0.0,
    }  # fmt: skip
    return Usage(**(usual | fields))


def conducted(meter: Meter) -> list[Usage]:
    return [row for row in meter.ledger.usage() if row.source == "conductor"]


def test_rows_arrive_as_they_are_by_then_and_events_all(meter: Meter) -> None:
    outbox = Outbox("run-a", pace_seconds=60)
    for second in range(100):
        beat = BEGUN + second * SECOND
        outbox.usage([told(heartbeat_at_microseconds=beat, wait_seconds=second / 2)])
        outbox.happened("resize", "train", {"workers": second}, beat)
    assert outbox.close(10) == ""
    (row,) = conducted(meter)
    assert (row.wait_seconds, row.heartbeat_at_microseconds) == (49.5, BEGUN + 99 * SECOND)
    assert [dict(e.facts) for e in meter.ledger.events("run-a")] == [
        {"workers": second} for second in range(100)
    ]


def test_it_sends_while_the_step_goes_on(meter: Meter) -> None:
    outbox = Outbox("run-a", pace_seconds=0.05)
    outbox.usage([told()])
    until(lambda: conducted(meter))
    outbox.happened("checkpoint", "train", {})
    until(lambda: meter.ledger.events("run-a"))
    assert outbox.close(10) == ""


def test_what_a_meter_that_is_away_misses_it_gets_when_it_is_back(
    address: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "SECONDS", 0.2)
    outbox = Outbox("run-a", pace_seconds=0.02)
    outbox.usage([told()])
    outbox.happened("oom", "train", {"worker": "0"})
    until(lambda: outbox.error)
    end = BEGUN + 60 * SECOND
    outbox.usage([told(end_microseconds=end, heartbeat_at_microseconds=end)])
    with served_meter(tmp_path, monkeypatch, port=address) as meter:
        filled(meter)
        until(lambda: conducted(meter) and meter.ledger.events("run-a"))
        assert outbox.close(10) == ""
        (row,) = conducted(meter)
        assert row.end_microseconds == end
        assert [event.kind for event in meter.ledger.events("run-a")] == ["oom"]


def test_a_meter_that_dies_in_mid_run_gets_nothing_twice(
    address: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "SECONDS", 0.2)
    outbox = Outbox("run-a", pace_seconds=0.02)
    for life_of_meter in range(3):
        with served_meter(tmp_path, monkeypatch, port=address) as meter:
            filled(meter)
            outbox.usage([told(wait_seconds=float(life_of_meter))])
            outbox.happened("checkpoint", "train", {"step": life_of_meter})
            until(lambda m=meter, n=life_of_meter: len(m.ledger.events("run-a")) > n)
    with served_meter(tmp_path, monkeypatch, port=address) as meter:
        assert outbox.close(10) == ""
        assert len(conducted(meter)) == 1 and len(meter.ledger.events("run-a")) == 3


def test_a_run_and_pods_that_the_meter_learns_of_later_are_told_then(meter: Meter) -> None:
    outbox = Outbox("run-b", pace_seconds=0.02)
    outbox.usage([told("pod-b", run_id="run-b")])
    outbox.happened("resize", "train", {})
    until(lambda: outbox.error)
    meter.ledger.put_new_runs([run("run-b")])
    until(lambda: meter.ledger.events("run-b"))
    assert not conducted(meter)
    meter.ledger.write_usage(life("pod-b", START, NOON, run_id="run-b"))
    until(lambda: conducted(meter))
    assert outbox.close(10) == ""


def test_pods_that_the_meter_never_knew_are_told_of_at_the_end(meter: Meter) -> None:
    outbox = Outbox("run-a", pace_seconds=60)
    outbox.usage([told("ghost"), told()])
    outbox.happened("resize", "train", {})
    missing = outbox.close(1)
    assert "got 1 rows" in missing and "\n" not in missing
    assert [row.pod_uid for row in conducted(meter)] == ["pod-a"]
    assert meter.ledger.events("run-a")


def test_what_the_meter_refuses_holds_up_nothing_else(meter: Meter) -> None:
    outbox = Outbox("run-a", pace_seconds=60)
    outbox.usage([told(wait_seconds=-1.0)])
    outbox.happened("resize", "train", {})
    missing = outbox.close(5)
    assert "got 1 rows" in missing and "wait_seconds" in missing
    assert meter.ledger.events("run-a")


def test_facts_that_are_no_json_or_too_long_are_told_as_far_as_that_goes(meter: Meter) -> None:
    outbox = Outbox("run-a", pace_seconds=60)
    outbox.happened("epoch", "train", {"loss": float("nan"), "path": Path("/x").name}, NOON)
    outbox.happened("note", "train", {"message": "x" * 100_000}, NOON + 1)
    for index in range(400):
        outbox.happened("note", "train", {"message": "y" * 7000, "index": index}, NOON + 2)
    assert outbox.close(20) == ""
    epoch, note, *others = meter.ledger.events("run-a")
    assert epoch.facts == {"loss": "nan", "path": "x"}
    assert set(note.facts) == {"cut"} and len(note.facts["cut"]) == 8000
    assert len(others) == 400


@pytest.mark.timing
def test_with_a_meter_that_says_nothing_nobody_waits_and_the_end_comes_in_time(
    address: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", address)):  # takes connections, never answers
        outbox = Outbox("run-a", pace_seconds=0.01)
        outbox.happened("resize", "train", {})
        until(lambda: threading.active_count() > 1)
        began = time.monotonic()
        for index in range(1000):
            outbox.usage([told(f"pod-{index}")])
        assert time.monotonic() - began < 1
        began = time.monotonic()
        missing = outbox.close(0.5)
        assert time.monotonic() - began < 5
        assert "1001 rows and events" in missing


def test_what_waits_is_bounded_and_the_newest_stays(address: int) -> None:
    outbox = Outbox("run-a", pace_seconds=60)
    for index in range(outboxes._MOST + 5):
        outbox.usage([told(f"pod-{index}")])
        outbox.happened("note", "train", {"index": index})
    assert len(outbox._rows) == len(outbox._events) == outboxes._MOST
    assert outbox._events[-1].facts == {"index": outboxes._MOST + 4}
    assert next(iter(outbox._rows.values())).pod_uid == "pod-5"
    assert f"{2 * outboxes._MOST + 10} rows" in outbox.close(0.2)


def test_a_job_begins_when_all_before_it_is_told_and_what_it_makes_is_sent(meter: Meter) -> None:
    outbox = Outbox("run-a", pace_seconds=60)
    outbox.usage([told(end_microseconds=NOON)])
    seen = []

    def job(client: MeterClient) -> list[Usage]:
        seen.extend(row for row in client.usage("run-a") if row.source == "conductor")
        return [replace(seen[0], phase="restart", start_microseconds=NOON - SECOND)]

    outbox.after_sending(job)
    assert outbox.close(10) == ""
    assert [row.phase for row in seen] == ["work"]
    assert sorted(row.phase for row in conducted(meter)) == ["restart", "work"]


def test_what_is_said_while_it_sends_is_not_taken_for_sent(
    meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, post = Outbox("run-a", pace_seconds=60), MeterClient.post_usage
    newer = [told(wait_seconds=0.0, heartbeat_at_microseconds=BEGUN + SECOND)]

    def slow(self: MeterClient, *arguments: object, **named: object) -> frozenset[str]:
        answer = post(self, *arguments, **named)
        outbox.usage([newer.pop()] if newer else [])
        return answer

    monkeypatch.setattr(MeterClient, "post_usage", slow)
    outbox.usage([told()])
    assert outbox.close(10) == ""
    assert [row.heartbeat_at_microseconds for row in conducted(meter)] == [BEGUN + SECOND]


def test_every_job_is_done_once_in_order(meter: Meter) -> None:
    outbox = Outbox("run-a", pace_seconds=60)
    done = []
    for number in range(3):
        outbox.after_sending(lambda _, n=number: done.append(n) or [])
    assert outbox.close(10) == ""
    assert done == [0, 1, 2]


def test_a_wrong_address_ends_no_step_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_METER_URL", "nonsense")
    outbox = Outbox("run-a", pace_seconds=0.01)
    outbox.happened("resize", "train", {})
    assert "TALLY_METER_URL: expected an address" in outbox.close(0.3)


class Meagre(Rates):
    """No room while it is full; when it was asked is kept."""

    def __init__(self) -> None:
        super().__init__(Rate(requests_a_minute=60))
        self.is_full, self.asked = True, list[float]()

    def take(self, namespace: str, size_bytes: int) -> None:
        self.asked.append(time.monotonic())
        if self.is_full:
            raise Refusal(429, "posts: expected fewer, got more; ask again in 1 s", 1)
        super().take(namespace, size_bytes)


@pytest.mark.timing
def test_a_meter_without_room_is_asked_no_sooner_than_it_says_and_gets_all_then(
    address: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "SECONDS", 0.2)
    meagre = Meagre()
    with served_meter(tmp_path, monkeypatch, port=address, rates=meagre) as meter:
        filled(meter)
        outbox = Outbox("run-a", pace_seconds=0.02)
        outbox.usage([told()])
        outbox.happened("oom", "train", {"worker": "0"})
        until(lambda: outbox.error)
        meagre.is_full = False
        assert outbox.close(10) == "" and outbox.lost == 0
        assert meagre.asked[1] - meagre.asked[0] >= 0.9
        assert len(conducted(meter)) == len(meter.ledger.events("run-a")) == 1


@pytest.mark.timing
def test_at_the_end_a_meter_without_room_is_not_hurried_either(
    address: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meagre = Meagre()
    with served_meter(tmp_path, monkeypatch, port=address, rates=meagre) as meter:
        filled(meter)
        outbox = Outbox("run-a", pace_seconds=60)
        outbox.usage([told()])
        missing = outbox.close(1.3)
        assert "got 1 rows" in missing and "ask again in 1 s" in missing
        assert len(meagre.asked) <= 3


def test_a_kind_of_event_that_finds_no_room_holds_up_no_other(meter: Meter) -> None:
    outbox = Outbox("run-a", pace_seconds=60)
    for second in range(30):
        outbox.happened("epoch", "train", {"loss": 0.5}, BEGUN + second * SECOND)
    outbox.measured("train", {f"m{index}": 1.0 for index in range(65)})
    outbox.happened("oom", "train", {"worker": "0"})
    missing = outbox.close(10)
    assert "got 1 rows and events left over: metrics: expected 64 names" in missing
    kinds = [event.kind for event in meter.ledger.events("run-a")]
    assert sorted(kinds) == ["epoch"] * 30 + ["oom"]
