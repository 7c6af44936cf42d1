"""A conductor hears what people asked the meter for, and the meter hears soon what became of it."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.metered_runs import run
from helpers.served_meter import Meter, served_meter, token_of, until
from tally import clock
from tally.costing.quotes import GANG
from tally.errors import SpecError
from tally.gang.coordinator.events import ResizeAsked
from tally.meterclient import MeterClient
from tally.steps import wishes
from tally.steps.metering import required_client
from tally.steps.outbox import PACE_SECONDS, Outbox
from tally.steps.wishes import Wishes


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    with served_meter(tmp_path, monkeypatch) as meter:
        meter.ledger.put_new_runs([run("run-a", created_at_microseconds=clock.now_microseconds())])
        meter.reviews.may = {("team-a", "update", "team-a")}
        (tmp_path / "token").write_text(token_of("team-a"))
        monkeypatch.setenv("TALLY_METER_URL", meter.url)
        monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setattr(wishes, "LOOK_SECONDS", 0.1)
        yield meter


def test_the_newest_wish_reaches_each_life_of_the_conductor_once(meter: Meter) -> None:
    outbox = Outbox("run-a")
    began = time.monotonic()
    outbox.happened(GANG, "train", {"workers": 1, "max_workers": 3})
    until(lambda: meter.ledger.events("run-a", "team-a", (GANG,)))
    assert time.monotonic() - began < PACE_SECONDS / 2  # somebody may be waiting to resize it
    client = MeterClient.from_environment()
    assert client is not None
    with pytest.raises(SpecError, match="expected 1 to 3 workers"):
        client.resize("run-a", 4)
    heard: queue.Queue[ResizeAsked] = queue.Queue()
    first = Wishes("run-a", heard.put)
    client.resize("run-a", 3)
    assert heard.get(timeout=20) == ResizeAsked(3)
    client.resize("run-a", 1)
    client.resize("run-a", 2, "n2-standard-4")
    while heard.get(timeout=20) != ResizeAsked(2, "n2-standard-4"):
        pass
    first.stop()
    second = Wishes("run-a", heard.put)  # after a kill: what was wanted still is
    assert heard.get(timeout=20) == ResizeAsked(2, "n2-standard-4")
    time.sleep(0.5)
    assert heard.empty()
    second.stop()
    assert outbox.close(10) == ""


def test_who_asks_again_and_again_has_the_same_client(
    meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = required_client()
    assert required_client() is first
    monkeypatch.setenv("TALLY_METER_URL", f"{meter.url}/other")
    assert required_client() is not first
    monkeypatch.setenv("TALLY_METER_URL", meter.url)
    assert required_client() is first


def test_a_meter_that_is_away_for_a_while_costs_no_wish(
    meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox("run-a")
    outbox.happened(GANG, "train", {"workers": 1, "max_workers": 3})
    until(lambda: meter.ledger.events("run-a", "team-a", (GANG,)))
    heard: queue.Queue[ResizeAsked] = queue.Queue()
    client = MeterClient.from_environment()
    assert client is not None
    monkeypatch.setenv("TALLY_METER_URL", "http://127.0.0.1:9")
    waiting = Wishes("run-a", heard.put)
    client.resize("run-a", 2)
    time.sleep(0.5)
    assert heard.empty()
    monkeypatch.setenv("TALLY_METER_URL", meter.url)
    assert heard.get(timeout=30) == ResizeAsked(2)
    waiting.stop()
    assert outbox.close(10) == ""
