"""A regression by one command: trained, evaluated beside the mean, billed, reported."""

import json
from pathlib import Path

import pytest

from helpers.command import submit_json, tally
from tally import storage

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "diabetes.py")
SET = ["--set", "epochs=150", "--set", "learning_rate=0.003"]


@pytest.mark.slow
def test_it_is_better_than_the_mean_and_its_bill_and_page_say_so(
    tally_home: Path, tmp_path: Path
) -> None:
    run = submit_json(EXAMPLE, *SET)
    assert 0.2 < run["metrics"]["test_r2"] < 0.6
    found = json.loads((storage.run_folder(run["id"]) / "evaluation.json").read_text())
    assert found["task"] == "regression"
    assert found["test_mae"] < 0.85 * found["mean"]["test_mae"]
    assert all(row["test_r2"] > 0.2 for row in found["candidates"])
    assert found["verdict"]["promote"]
    assert run["bill"]["test_r2"] == run["metrics"]["test_r2"]
    assert "R² 0." in tally("runs").stdout
    tally("report", run["id"], "--out", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    for words in ("Predicted against true", "Training error, mean absolute", "R²"):
        assert words in page
    again = submit_json(EXAMPLE, *SET, "--set", "workers=2")
    assert again["metrics"]["test_r2"] == pytest.approx(run["metrics"]["test_r2"], abs=0.02)
