"""Runs on pictures: colours are learnt, and a champion's way of reading is kept to."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command import submit_json, tally
from tally.data.format import open_dataset
from tally.evaluation.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_home")]
SET = ["--set", "epochs=8", "--set", "augment=1", "--set", "candidates=float32"]


def paint(folder: Path, colours: tuple[tuple[int, int, int], ...], count: int = 100) -> Path:
    """A square of its class's colour on noise; all of these colours are the same grey."""
    shutil.rmtree(folder, ignore_errors=True)
    random = np.random.default_rng(8)
    for name, colour in zip(("one", "other"), colours, strict=True):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            x = np.stack([random.integers(60, 130, (12, 12))] * 3, -1)
            row, column = random.integers(0, 6, 2)
            x[row : row + 6, column : column + 6] = colour
            Image.fromarray(x.astype(np.uint8)).save(folder / name / f"{k}.png")
    return folder


def test_classes_that_only_colours_tell_apart_are_learnt(home: Path) -> None:
    source = paint(home / "squares", ((170, 51, 51), (10, 132, 51)))
    run = submit_json("cnn", "--set", f"dataset={source}", *SET)
    found = json.loads((home / "runs" / run["id"] / "evaluation.json").read_text())
    assert found["test_accuracy"] >= 0.98
    assert Registry().champion("cnn-squares").lineage["dataset"]["reading"]["channels"] == "3"


def test_grey_pictures_are_read_as_the_champion_was(home: Path) -> None:
    source = paint(home / "squares", ((40, 40, 40), (200, 200, 200)))
    done = tally("evaluate", "cnn-squares", str(source), "--json")
    assert done.returncode == 0, done.stderr
    run = submit_json("cnn", "--set", f"dataset={source}", "--set", "start=champion", *SET)
    assert run["state"] == "succeeded"
    shapes = {open_dataset(each).meta.input_shape[2] for each in home.glob("datasets/squares-*")}
    assert shapes == {1, 3}  # 1 is what it would have by itself
    reading = Registry().champion("cnn-squares").lineage["dataset"]["reading"]
    assert reading["channels"] == "3"
