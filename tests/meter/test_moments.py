"""Times that are posted: cut to the pod's life, or refused where no honest clock tells them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.metered_runs import DAY, HOUR, NOON, SECOND, life, node, run
from helpers.served_meter import Meter, served_meter
from tally.costing.usage import Usage
from tally.meter.moments import cut, lives_of
from tally.meter.posts import PostedUsage

START = NOON - HOUR
PLACED, END = START + 5 * SECOND, NOON - HOUR // 2
NOW = NOON + 10 * SECOND
USAGE = "/v1/runs/run-a/usage"


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """A run with a pod that has ended and one that lasts; it is ten seconds past noon."""
    with served_meter(tmp_path, monkeypatch, now=lambda: NOW) as meter:
        meter.ledger.write_nodes([node()])
        meter.ledger.put_new_runs([run()])
        meter.ledger.write_usage(life("ended", START, END, worker="0"))
        meter.ledger.write_usage(life("lasts", START, None, worker="1"))
        yield meter


def said(uid: str, start: int, end: int | None, heard: int, **fields: object) -> dict[str, object]:
    return {
        "pod_uid": uid, "phase": "work", "start_microseconds": start, "end_microseconds": end,
        "heartbeat_at_microseconds": heard, **fields,
    }  # fmt: skip


def conducted(meter: Meter) -> list[Usage]:
    rows = (row for row in meter.ledger.usage(["run-a"]) if row.source == "conductor")
    return sorted(rows, key=lambda row: (row.pod_uid, row.start_microseconds))


def test_an_interval_is_cut_to_its_pods_life(meter: Meter) -> None:
    decades = 20 * 365 * DAY
    rows = [
        said("ended", NOON - decades, NOON + decades, NOON + decades, wait_seconds=1e12),
        said("lasts", NOON - decades, None, NOON + decades, wait_seconds=1e12),
    ]
    status, answer = meter.ask("POST", USAGE, body={"usage": rows})
    assert (status, answer["accepted"], answer["outside_rows"]) == (200, 2, 0)
    ended, lasts = conducted(meter)
    assert (ended.start_microseconds, ended.end_microseconds) == (PLACED, END)
    assert ended.heartbeat_at_microseconds <= NOW + 5 * SECOND
    assert (lasts.start_microseconds, lasts.end_microseconds) == (PLACED, None)
    assert lasts.heartbeat_at_microseconds == NOW + 5 * SECOND
    assert ended.wait_seconds == (END - PLACED) / 1e6
    assert lasts.wait_seconds == (NOW + 5 * SECOND - PLACED) / 1e6


def test_what_lies_wholly_outside_is_counted_and_not_kept(meter: Meter) -> None:
    rows = [
        said("ended", PLACED - HOUR, PLACED - SECOND, PLACED - SECOND),
        said("ended", END + SECOND, END + HOUR, END + HOUR),
        said("ended", END + SECOND, None, END + SECOND),
        said("lasts", 1, 2, 2),
        said("lasts", NOW + HOUR, NOW + 2 * HOUR, NOW + 2 * HOUR),
        said("lasts", PLACED + SECOND, None, NOW),
        said("nobody", PLACED, None, NOW),
    ]
    status, answer = meter.ask("POST", USAGE, body={"usage": rows})
    assert status == 200
    assert (answer["accepted"], answer["outside_rows"]) == (1, 5)
    assert answer["unknown_pods"] == ["nobody"]
    (kept,) = conducted(meter)
    assert (kept.pod_uid, kept.heartbeat_at_microseconds) == ("lasts", NOW)


@pytest.mark.parametrize(
    ("start", "end", "heard"),
    [
        (PLACED, None, NOW + 4 * SECOND),  # a clock that is ahead
        (PLACED + 20 * SECOND, NOW + 3 * SECOND, NOW + 3 * SECOND),
        (NOW + SECOND, None, NOW + SECOND),
        (PLACED, PLACED, NOW),  # of work that was lost: no length, and heard of at its old end
    ],
)
def test_an_honest_word_about_a_pod_that_lasts_is_kept_as_it_is(
    start: int, end: int | None, heard: int
) -> None:
    lives = lives_of(life("lasts", START, None), "run-a", "team-a")
    word = PostedUsage.model_validate(said("lasts", start, end, heard))
    assert cut(word, lives["lasts"], NOW) == word


def test_an_interval_keeps_its_name_when_its_pod_ends(meter: Meter) -> None:
    """A conductor's clock that is behind begins the interval before the pod was placed."""
    begun = PLACED - 2 * SECOND
    first = {"usage": [said("lasts", begun, None, NOW)]}
    assert meter.ask("POST", USAGE, body=first)[0] == 200
    meter.ledger.write_usage(life("lasts", START, NOW - SECOND, worker="1"))
    last = {"usage": [said("lasts", begun, NOW, NOW, wait_seconds=3.0)]}
    assert meter.ask("POST", USAGE, body=last, key="k2")[0] == 200
    (row,) = conducted(meter)
    assert (row.start_microseconds, row.end_microseconds) == (PLACED, NOW - SECOND)
    assert row.wait_seconds == 3


@pytest.mark.parametrize(
    ("at", "good"),
    [
        (START - DAY, True),
        (START - DAY - SECOND, False),
        (NOW + 60 * SECOND, True),
        (NOW + 61 * SECOND, False),
        (1, False),
        (2**52, False),
    ],
)
def test_events_and_quotes_are_of_their_runs_time(meter: Meter, at: int, good: bool) -> None:
    usual = {"at_microseconds": NOON, "kind": "note"}
    quote = {"low_usd": 1.0, "expected_usd": 2.0, "high_usd": 3.0, "made_at_microseconds": at}
    for what, name, body in (
        ("events", "events[1].at_microseconds", [usual, {**usual, "at_microseconds": at}]),
        ("quote", "quote.made_at_microseconds", quote),
    ):
        status, answer = meter.ask("POST", f"/v1/runs/run-a/{what}", body={what: body})
        assert status == (200 if good else 422)
        if not good:
            assert answer["error"].startswith(
                f"{name}: expected a time from 2024-10-03T11:00:00Z, a day before the run, "
                "to 2024-10-04T12:01:10Z, a minute from now, got "
            )
            assert answer["error"].endswith("set the clock of the machine that posts")
    assert len(meter.ledger.events("run-a")) == (2 if good else 0)
    assert (meter.ledger.quote("run-a") is not None) == good


def test_a_run_that_has_only_pods_yet_began_with_the_first_of_them(meter: Meter) -> None:
    meter.ledger.write_usage(life("new", START, None, run_id="run-new"))
    for at, wanted in ((START - DAY, 200), (START - DAY - SECOND, 422)):
        body = {"events": [{"at_microseconds": at, "kind": "note"}]}
        assert meter.ask("POST", "/v1/runs/run-new/events", body=body, key=str(at))[0] == wanted
