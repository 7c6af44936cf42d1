"""A model of the user's own by one command: what it ends in, what it is, what does not fit."""

import json
from pathlib import Path

import pytest

from helpers.command import submit_json
from tally import storage

MODELS = Path(__file__).parent / "own_models"


@pytest.mark.slow
def test_logits_are_trained_measured_and_exported_as_what_they_are(tally_home: Path) -> None:
    names = "float32 dynamic"
    run = submit_json(
        str(MODELS / "logits.py"), "--set", "epochs=40", "--set", "learning_rate=0.01",
        "--set", f"candidates={names}",
    )  # fmt: skip
    assert run["metrics"]["test_accuracy"] == 1  # 0.488 where they are taken for probabilities
    folder = storage.run_folder(run["id"])
    found = json.loads((folder / "evaluation.json").read_text())
    assert found["test_loss"] < 0.1 and found["calibration"]["error"] < 0.1
    for row in found["candidates"]:
        assert row["test_accuracy"] == 1, row
        assert row["calibration_error"] == pytest.approx(found["calibration"]["error"], abs=0.01)
    summary = json.loads((folder / "model" / "training.json").read_text())
    assert summary["missing_activation"] == "softmax"
