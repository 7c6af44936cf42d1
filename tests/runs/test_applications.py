"""Applications from nothing: beside their baseline, alone and in a gang, whole and smaller."""

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.command import submit_json, tally

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_home")]

FEW = ["--set", "epochs=3"]
LONE: dict[str, dict[str, Any]] = {}  # evaluations of the first runs, by pipeline


def evaluation(home: Path, run_id: str) -> dict[str, Any]:
    return json.loads((home / "runs" / run_id / "evaluation.json").read_text())


@pytest.mark.parametrize(
    ("pipeline", "method", "plain", "learnt", "smaller"),
    [
        ("sentiment", "logistic regression on character n-grams", 0.9, 0.7, "int8"),
        ("speech", "logistic regression on the mean spectrum", 0.55, 0.7, "dynamic"),
    ],
    ids=["sentiment", "speech"],
)
def test_it_stands_beside_its_baseline_and_shrinks(
    home: Path, pipeline: str, method: str, plain: float, learnt: float, smaller: str
) -> None:
    run = submit_json(pipeline, *FEW)
    LONE[pipeline] = found = evaluation(home, run["id"])
    beside = found["baseline"]
    assert beside["test_accuracy"] > plain and not beside["kept"]
    assert method in beside["described"]
    difference = found["test_accuracy"] - beside["test_accuracy"]
    assert beside["difference"] == pytest.approx(difference)
    assert beside["difference_interval"][0] < difference < beside["difference_interval"][1]
    assert found["test_accuracy"] > learnt
    assert not any(row["failed"] for row in found["candidates"])
    by_name = {row["name"]: row for row in found["candidates"]}
    assert by_name[smaller]["bytes"] < by_name["float32"]["bytes"] / 1.8
    assert by_name[smaller]["test_accuracy"] > found["test_accuracy"] - 0.015
    page = home / "page.html"
    assert tally("report", run["id"], "--out", str(page)).returncode == 0
    shown = page.read_text()
    assert beside["described"] in shown and 'data-key="baseline.difference"' in shown


@pytest.mark.parametrize(
    ("pipeline", "model", "workers", "near"),
    [
        ("sentiment", "transformer", 2, 0.005),
        ("sentiment", "text_lstm", 1, 0.1),
        ("speech", "speech_lstm", 2, 0.005),
    ],
)
def test_a_gang_learns_the_same_and_another_model_something(
    home: Path, pipeline: str, model: str, workers: int, near: float
) -> None:
    lone = LONE[pipeline]  # of the test before this one
    settings = ["--set", f"model={model}", "--set", f"workers={workers}"]
    run = submit_json(pipeline, *FEW, *settings, "--set", "candidates=float32")
    found = evaluation(home, run["id"])
    assert found["baseline"]["kept"]
    assert found["baseline"]["test_accuracy"] == lone["baseline"]["test_accuracy"]
    assert abs(found["test_accuracy"] - lone["test_accuracy"]) < near
    assert not any(row["failed"] for row in found["candidates"])
