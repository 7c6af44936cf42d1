"""How much a namespace may post in a minute, and that it is nobody else's matter."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from helpers.metered_runs import NOON, run
from helpers.served_meter import Meter, served_meter, token_of
from tally.meter import rates
from tally.meter.rates import Bucket, Rate, Rates, filled, full, wait_seconds
from tally.meter.refusal import Refusal

RATE = Rate(requests_a_minute=60, bytes_a_minute=6 << 20)
EVENT = {"events": [{"at_microseconds": NOON, "kind": "note"}]}


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_holds_a_minute_and_fills_in_one() -> None:
    assert full(RATE, 0.0) == Bucket(60, 6 << 20, 0.0)
    assert filled(Bucket(0, 0, 0.0), RATE, 30.0) == Bucket(30, 3 << 20, 30.0)
    assert filled(Bucket(0, 0, 0.0), RATE, 600.0) == full(RATE, 600.0)
    assert filled(Bucket(5, 5, 9.0), RATE, 8.0) == Bucket(5, 5, 8.0)


def test_who_asks_too_much_waits_for_what_lacks() -> None:
    assert wait_seconds(full(RATE, 0.0), RATE, 1 << 20) == 0
    assert wait_seconds(Bucket(0, 6 << 20, 0.0), RATE, 0) == 1
    assert wait_seconds(Bucket(60, 0, 0.0), RATE, 1 << 20) == 10
    assert wait_seconds(Bucket(60, -(1 << 20), 0.0), RATE, 0) == 10  # a debt


def test_requests_and_bytes_are_bounded_for_each_namespace_alone() -> None:
    clock = Clock()
    those = Rates(RATE, clock)
    for _ in range(60):
        those.take("team-a", 100)
    with pytest.raises(Refusal) as refused:
        those.take("team-a", 0)
    assert (refused.value.status, refused.value.retry_seconds) == (429, 1)
    assert refused.value.sentence == (
        "the namespace's posts: expected 60 requests and 6 MiB a minute at most, got more; "
        "ask again in 1 s"
    )
    those.take("team-b", 6 << 20)
    with pytest.raises(Refusal) as refused:
        those.take("team-b", 1 << 20)
    assert refused.value.retry_seconds == 10
    clock.now = 1.0
    those.take("team-a", 0)
    clock.now = 11.0
    those.take("team-b", 1 << 20)


def test_a_body_that_did_not_say_its_size_is_counted_when_it_is_read() -> None:
    those = Rates(RATE, Clock())
    for _ in range(7):
        those.take("team-a", 0)
        those.read("team-a", (1 << 20) - 1)
    with pytest.raises(Refusal):
        those.take("team-a", 0)


def test_namespaces_that_may_post_all_again_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_REMEMBERED", 10)
    clock = Clock()
    those = Rates(RATE, clock)
    for number in range(500):
        those.take(f"team-{number}", 1 << 20)
        clock.now += 10.0
    assert len(those._buckets) <= 11


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """A namespace may post 3 requests and 64 KiB at once, and then next to nothing."""
    few = Rates(Rate(requests_a_minute=3, bytes_a_minute=64 << 10), Clock())
    with served_meter(tmp_path, monkeypatch, rates=few) as meter:
        meter.ledger.put_new_runs([run(), run("run-b", team="team-b")])
        yield meter


def test_beyond_it_a_namespace_is_told_when_to_ask_again_and_others_go_on(meter: Meter) -> None:
    path = "/v1/runs/run-a/events"
    assert [meter.ask("POST", path, body=EVENT)[0] for _ in range(4)] == [200, 200, 200, 429]
    answer = urllib3.request(
        "POST", meter.url + path, body=b"{}", retries=False, timeout=30,
        headers={"Authorization": f"Bearer {token_of('team-a', 'another-account')}"},
    )  # fmt: skip
    assert (answer.status, answer.headers["Retry-After"]) == (429, "20")
    assert "expected 3 requests and 0 MiB a minute" in answer.json()["error"]
    assert meter.ask("POST", "/v1/runs/run-b/events", token_of("team-b"), body=EVENT)[0] == 200
    assert meter.ask("GET", path)[0] == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_its_bytes_are_counted_however_they_come(meter: Meter, chunked: bool) -> None:
    answers = []
    for _ in range(2):
        connection = http.client.HTTPConnection("127.0.0.1", meter.port, timeout=30)
        body = b" " * (64 << 10) if not answers else b"{}"
        headers = {"Authorization": f"Bearer {token_of('team-a')}", "Idempotency-Key": "k"}
        connection.request(
            "POST", "/v1/runs/run-a/events", iter([body, b" "]) if chunked else body, headers,
            encode_chunked=chunked,
        )  # fmt: skip
        answers.append(connection.getresponse().status)
        connection.close()
    assert answers == [400, 429]  # no JSON, but read
