"""What watching a cluster's run says of its workers, out of a real meter's events."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.metered_runs import run
from helpers.served_meter import Meter, served_meter, token_of, until
from tally import clock
from tally.costing.quotes import RESIZE_ASKED, RunEvent
from tally.runs.kubeflow import hearing
from tally.runs.kubeflow.hearing import Hearing, words

RUN = "0191f0a0-0000-7000-8000-0123456789ab"


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    with served_meter(tmp_path, monkeypatch) as meter:
        (tmp_path / "token").write_text(token_of("team-a"))
        monkeypatch.setenv("TALLY_METER_URL", meter.url)
        monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setattr(hearing, "LOOK_SECONDS", 0.1)
        yield meter


def told(meter: Meter, kind: str, **facts: object) -> None:
    now = clock.now_microseconds()
    whose = {"run_id": RUN, "namespace": "team-a", "step": "train"}
    meter.ledger.write_events([RunEvent(at_microseconds=now, kind=kind, facts=facts, **whose)])


def begin(meter: Meter) -> None:
    meter.ledger.put_new_runs([run(RUN, created_at_microseconds=clock.now_microseconds())])


def lines_of(one: Hearing) -> list[str]:
    found: list[str] = []
    until(lambda: found.extend(one.new()) or found)
    return found


def test_sizes_notes_and_wishes_of_a_new_run_are_said_once_each(meter: Meter) -> None:
    heard = Hearing(RUN, "team-a", is_new=True)
    time.sleep(0.3)  # the meter has not seen it yet: nothing to complain of
    begin(meter)
    told(meter, "generation", workers=["0.0"])
    until(lambda: heard.sizes == {"train": "1 worker"})
    told(meter, RESIZE_ASKED, workers=3, machine_type="", by="team-a/default-editor")
    assert lines_of(heard) == ["train: team-a/default-editor asks for 3 workers"]
    told(meter, "generation", workers=["0.0", "0.1", "0.2"])
    until(lambda: heard.sizes == {"train": "3 workers"})
    told(
        meter, "note", message="worker 0.1 ended: \x1b[31mevicted\x1b[0m\nby\tnode; it is replaced"
    )
    assert lines_of(heard) == ["train: worker 0.1 ended: evicted by node; it is replaced"]
    time.sleep(0.5)
    assert heard.new() == []
    heard.stop()


def test_who_comes_back_sees_the_size_and_only_what_is_new(meter: Meter) -> None:
    begin(meter)
    told(meter, "note", message="long ago")
    told(meter, "generation", workers=["0.0", "0.1"])
    heard = Hearing(RUN, "team-a", is_new=False)
    until(lambda: heard.sizes == {"train": "2 workers"})
    told(meter, "note", message="just now")
    assert lines_of(heard) == ["train: just now"]
    heard.stop()


def test_a_meter_that_refuses_is_said_once_and_none_says_nothing(
    meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(meter)
    stranger = Hearing(RUN, "team-b", is_new=True)
    (line,) = lines_of(stranger)
    assert line.startswith("the number of workers is not shown: ")
    monkeypatch.delenv("TALLY_METER_URL")
    alone = Hearing(RUN, "team-a", is_new=True)
    time.sleep(0.3)
    assert alone.new() == [] and stranger.new() == [] and alone.sizes == {}


def test_facts_of_another_shape_are_words_all_the_same() -> None:
    event = RunEvent(run_id=RUN, at_microseconds=1, kind=RESIZE_ASKED, facts={"workers": None})
    assert words(event) == "None asks for ? workers"
    facts = {"workers": "\x1b[2J", "by": "team-a/\x1b[31mred", "machine_type": "x\ny"}
    event = RunEvent(run_id=RUN, at_microseconds=1, kind=RESIZE_ASKED, facts=facts)
    assert words(event) == "team-a/red asks for ? workers on x y"
