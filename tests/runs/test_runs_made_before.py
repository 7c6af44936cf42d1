"""Runs, checkpoints, a champion and a ledger made by Tally before it knew tasks (commit 91b1954).

`before_tasks/files.tar.xz` is the home of two runs of cnn on `tiny.npz`, one that ended and one
that was interrupted at epoch 176 of 400; `said.json` is what that Tally said of them.
"""

import json
import sqlite3
import tarfile
from pathlib import Path

import pytest

from helpers.command import tally
from tally import events
from tally.learning import checkpoint, order

HERE = Path(__file__).parent / "before_tasks"
SAID = json.loads((HERE / "said.json").read_text())
INTERRUPTED, ENDED = [run["id"] for run in SAID["runs"]["runs"]]


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That home, with the dataset where the runs say that it is."""
    with tarfile.open(HERE / "files.tar.xz") as archive:
        archive.extractall(tmp_path)  # ours; "filter" came with 3.11.4
    home, was, now = tmp_path / "home", "/tmp/before/", f"{tmp_path}/"
    for path in home.glob("runs/*/run.json"):
        path.write_text(path.read_text().replace(was, now))
    with sqlite3.connect(home / "ledger.db") as ledger:
        ledger.execute("UPDATE runs SET spec = replace(spec, ?, ?)", (was, now))
    monkeypatch.setenv("TALLY_HOME", str(home))
    return home


def test_they_are_listed_billed_and_compared_as_before(old: Path) -> None:
    found = json.loads(tally("runs", "--json").stdout)
    for run in (*found["runs"], *SAID["runs"]["runs"]):
        del run["spec"]["dataset"]
    assert found == SAID["runs"]
    for run, bill in SAID["bills"].items():
        assert json.loads(tally("bill", run, "--json").stdout) == bill
    table = tally("runs").stdout
    assert f"{SAID['bills'][ENDED]['test_accuracy']:.2%}" in table
    compared = json.loads(tally("compare", f"{ENDED},{INTERRUPTED}", "--json").stdout)
    assert [run["metrics"] for run in compared["runs"]] == [
        next(run["metrics"] for run in SAID["runs"]["runs"] if run["id"] == one)
        for one in (ENDED, INTERRUPTED)
    ]
    assert "a point of accuracy" in tally("compare", f"{ENDED},{INTERRUPTED}").stdout
    assert "float32" in tally("champion").stdout


def test_their_pages_have_what_they_measured(old: Path, tmp_path: Path) -> None:
    for run, words in (
        (ENDED, ("Confusion matrix", "Training accuracy", "By class", "Calibration", "champion")),
        (INTERRUPTED, ("Training accuracy", "Training loss", "was interrupted")),
    ):
        page = tmp_path / f"{run}.html"
        done = tally("report", run, "--out", str(page))
        assert done.returncode == 0, done.stderr
        text = page.read_text()
        assert not [word for word in words if word not in text]


@pytest.mark.slow
def test_the_interrupted_one_goes_on_from_its_checkpoint(old: Path) -> None:
    done = tally("resume", INTERRUPTED, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [event for event in events.read(old / "runs" / INTERRUPTED) if event["attempt"] == 2]
    (started,) = [event for event in told if event["event"] == "started"]
    assert (started["epoch"], started["offset"]) == (176, 0)
    summary = json.loads((old / "runs" / INTERRUPTED / "model/training.json").read_text())
    assert [epoch["epoch"] for epoch in summary["history"]] == list(range(400))
    assert all(0 < epoch["accuracy"] <= 1 for epoch in summary["history"])
    assert json.loads(tally("bill", INTERRUPTED, "--json").stdout)["attempts"] == 2
    end = checkpoint.latest(old / "runs" / INTERRUPTED / "checkpoints", pytest.fail)
    assert end is not None  # its steps before were not counted, those since were
    examples, batch = end.position.examples_trained // 400, int(end.spec["batch_size"])
    assert end.position.steps == 400 * order.steps_per_epoch(examples, batch)
    assert end.position.batch_size == batch
