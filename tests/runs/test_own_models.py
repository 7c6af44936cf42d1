"""A model of the user's own by one command: what it ends in, what it is, what does not fit."""

import json
from pathlib import Path

import pytest

from helpers.command import events, submit_json, tally
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


@pytest.mark.slow
def test_a_subclass_of_model_goes_through_everything_that_another_does(tally_home: Path) -> None:
    """But structured pruning, which cuts units along a graph that it has not."""
    run = submit_json(
        str(MODELS / "subclassed.py"), "--set", "epochs=20", "--set", "learning_rate=0.01",
        "--set", "candidates=pruned50 structured50",
    )  # fmt: skip
    assert run["metrics"]["test_accuracy"] == 1
    folder = storage.run_folder(run["id"])
    found = json.loads((folder / "evaluation.json").read_text())
    rows = {row["name"]: row for row in found["candidates"]}
    assert rows["pruned50"]["test_accuracy"] > 0.8 and rows["pruned50"]["sparsity"] > 0.3
    assert "sequential or functional" in rows["structured50"]["failed"]
    assert not (folder / "model" / "model.keras").exists()
    notes = [e["message"] for e in events(tally_home, run["id"]) if e["event"] == "note"]
    assert any("Keras could not load it (Small: " in note for note in notes)
    assert list((folder / "checkpoints").iterdir())


OTHER = {
    "width": ("layers.Dense(4)", "layers.Dense(7)", "(None, 4), for classification of dataset"),
    "input": ("keras.Input((2,))", "keras.Input((9,))", "change keras.Input to (2,)"),
}


@pytest.mark.parametrize(("old", "new", "says"), OTHER.values(), ids=OTHER)
def test_a_model_that_does_not_fit_is_one_line_and_makes_no_run(
    old: str, new: str, says: str, tmp_path: Path, tally_home: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text((MODELS / "logits.py").read_text().replace(old, new))
    done = tally("submit", str(file), "--set", "epochs=1")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert line.startswith(f"{file}: expected ") and says in line
    assert not list((tally_home / "runs").glob("*"))


SAYS = {
    "raises": ("logits", "import numpy as np", "1 / 0", "got ZeroDivisionError: ", "in dataset"),
    "ends": ("logits", "import keras", "raise SystemExit(3)", "(SystemExit: 3)", "in model"),
    "missing": ("logits", "import keras", "import kerras.a", "no module named kerras;", "in model"),
    "syntax": ("logits", "import keras", "import keras keras", "SyntaxError in line 18", "s keras"),
    "layer": ("subclassed", "self.first(x)", "self.frist(x)", "attribute 'frist'", "in call"),
}


@pytest.mark.parametrize(("name", "old", "new", "got", "where"), SAYS.values(), ids=SAYS)
def test_an_error_in_the_file_shows_where_it_is_and_then_one_line(
    name: str, old: str, new: str, got: str, where: str, tmp_path: Path, tally_home: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text((MODELS / f"{name}.py").read_text().replace(old, new, 1))
    done = tally("submit", str(file), "--set", "epochs=1")
    assert done.returncode == 2
    *story, line = [line for line in done.stderr.splitlines() if line.strip()]
    assert line.startswith(f"{file}: expected ") and got in line
    assert where in "\n".join(story)
    frames = [each for each in story if each.startswith("  File ")]
    assert frames[0].startswith(f'  File "{file}", line '), story  # theirs, none of ours before
    assert not list((tally_home / "runs").glob("*"))


def trained(home: Path, *settings: str) -> tuple[bytes, list[str]]:
    """The weights of the model that normalises, moving averages too, and the run's notes."""
    given = [word for each in ["epochs=1", "candidates=", *settings] for word in ("--set", each)]
    run = submit_json(str(MODELS / "normalised.py"), *given)
    notes = [e["message"] for e in events(home, run["id"]) if e["event"] == "note"]
    return (storage.run_folder(run["id"]) / "model" / "weights.safetensors").read_bytes(), notes


@pytest.mark.slow
def test_what_depends_on_the_gangs_size_is_said(tally_home: Path) -> None:
    _, notes = trained(tally_home, "workers=2")
    assert [n for n in notes if "what norm computes depends on which examples share a worker" in n]


@pytest.mark.slow
def test_deterministic_ends_that_and_says_how_few_examples_are_averaged(tally_home: Path) -> None:
    (one, notes), (two, _) = (
        trained(tally_home, f"workers={workers}", "deterministic=true") for workers in (1, 2)
    )
    assert one == two
    assert [n for n in notes if "got those of 2, a virtual shard of the batch; pass SET=" in n]


@pytest.mark.slow
def test_an_answer_that_is_no_number_fails_evaluation_and_promotes_nothing(
    tally_home: Path,
) -> None:
    file = str(MODELS / "undefined.py")
    done = tally("submit", file, "--set", "epochs=1", "--set", "candidates=float32")
    assert done.returncode == 2, done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("failed: "))
    assert "evaluation: expected probabilities, got nan or infinity for test example 7;" in line
    assert not list((tally_home / "registry").glob("**/champion.json"))
