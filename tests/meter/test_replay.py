"""`tally meter replay`: timelines of pods and nodes, and what they cost."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from helpers.command import tally
from helpers.meter.told import node, recorded
from tally.errors import SpecError
from tally.meter.replay import replay

TIMELINES = Path(__file__).parent / "timelines"
USD_A_SECOND = 0.66441236 / 3600  # of 1 core and 1 GiB on 4 cores and 16 GiB for $3.60 an hour
RIGHT_USD = {
    "clock-ahead": 61 * USD_A_SECOND,  # from when it had its node
    "clock-behind": 61 * USD_A_SECOND,
    "node-reregistered": 3595 * USD_A_SECOND,  # 5 s there was no node object
    "price-change": 1815 * 0.001 + 1785 * 0.002,  # heard of at the next look, as of its node
    "resize-infeasible": 3600 * USD_A_SECOND,  # what was asked for in vain holds nothing
    "resized": 1.250295512,  # half of it 1 core, half 3
    "restart-rule": 3600 * USD_A_SECOND,  # its own rule starts it again
}


def told(name: str) -> Any:
    return json.loads((TIMELINES / f"{name}.json").read_text())


@pytest.mark.exact
@pytest.mark.parametrize("name", sorted(path.stem for path in TIMELINES.glob("*.json")))
def test_a_timeline_costs_what_is_right(name: str) -> None:
    replayed = replay(told(name))
    assert float(replayed.pods["p"].usd) == pytest.approx(RIGHT_USD[name], rel=1e-3, abs=1e-4)
    parts = sum(float(pod.usd) for pod in replayed.pods.values())
    parts += float(replayed.idle_usd + replayed.overhead_usd)
    assert parts == pytest.approx(float(replayed.nodes_usd), abs=1e-9)


def test_the_command_says_it_in_a_table_and_in_json() -> None:
    done = tally("meter", "replay", str(TIMELINES / "clock-ahead.json"))
    assert done.returncode == 0, done.stderr
    assert "$0.011258" in done.stdout
    said = json.loads(done.stdout.splitlines()[-1])
    assert list(said) == ["pods", "nodes_usd", "idle_usd", "overhead_usd"]
    pod = said["pods"]["p"]
    assert pod["usd"] == pytest.approx(0.011258, abs=1e-6) and pod["seconds"] == 62.0
    assert {phase: of["seconds"] for phase, of in pod["phases"].items()} == {
        "queue": 1.0, "startup": 1.0, "work": 60.0,
    }  # fmt: skip


def test_two_pods_of_one_name_are_told_apart() -> None:
    began = "2026-11-24T10:00:00Z"
    pods = [recorded("running", uid=uid, name="p", creationTimestamp=began) for uid in "ab"]
    seen = [{"at": 1 + i, "see": "pod", "object": pod} for i, pod in enumerate(pods)]
    machine = {"at": 0, "see": "node", "object": node()}
    timeline = {"zero": began, "price_usd_per_hour": 3.6, "until": 60, "events": [machine, *seen]}
    replayed = replay(timeline)
    assert list(replayed.pods) == ["p", "p#2"]
    assert float(replayed.nodes_usd) > 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda one: one.pop("zero"), "got no 'zero'"),
        (lambda one: one["events"].reverse(), "put them in order"),
        (lambda one: one["events"][0].update(see="claim"), "neither pod nor node"),
        (lambda one: one["events"][1]["object"].pop("metadata"), "got no 'metadata'"),
        (lambda one: one.update(zero="yesterday"), "yesterday"),
    ],
)
def test_what_is_no_timeline_is_refused_in_a_sentence(spoil: Any, words: str) -> None:
    timeline = copy.deepcopy(told("clock-ahead"))
    spoil(timeline)
    with pytest.raises(SpecError) as refused:
        replay(timeline)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"zero": ')
    for path in (tmp_path / "none.json", tmp_path / "cut.json"):
        done = tally("meter", "replay", str(path))
        assert done.returncode == 2
        assert done.stderr.startswith("meter replay: expected a readable JSON document")
        assert done.stderr.count("\n") == 1
