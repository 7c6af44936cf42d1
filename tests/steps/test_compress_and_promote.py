"""compress and promote as steps of their own, each in a process as Kubeflow starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.made_signs import dataset_of
from tally.evaluation.registry import Registry
from tally.spec import Spec
from tally.steps.new_data import KEY

WEIGHTS = """
import sys
from pathlib import Path

from tally.data.format import open_dataset
from tally.models import registry
from tally.learning.checkpoint import write_tensors
from tally.learning.checkpoint import WEIGHTS

model = registry.build("lstm", open_dataset(Path(sys.argv[1])).meta)
tensors = {f"{i:04d}": v.numpy() for i, v in enumerate(model.variables)}
write_tensors(Path(sys.argv[2]) / WEIGHTS, tensors, {})
"""
STEP = """
import json
import sys

from tally.steps.{name} import run

with open(sys.argv[-1], "w") as file:
    json.dump(run(sys.argv[1], json.loads(sys.argv[2]), *sys.argv[3:-1]), file)
"""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
        env=os.environ | {"TALLY_RUN_ID": "r1", "TALLY_PIPELINE": "own"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset and a model of it, which has learned nothing."""
    folder = tmp_path_factory.mktemp("made")
    dataset_of(folder)
    done = python(WEIGHTS, folder / "dataset", folder)
    assert done.returncode == 0, done.stderr
    return folder / "dataset", folder


def steps(folders: tuple[Path, Path], out: Path, **changed: Any) -> tuple[Any, Any]:
    """What compress and then promote return."""
    dataset, model = folders
    asked = Spec(model="lstm", candidates="float32 weights8").model_dump() | changed
    found = []
    for name, *rest in (("compress",), ("promote", out / "smaller", out / "page.html")):
        places = [model, *rest] if rest else [model, out / "smaller"]
        done = python(
            STEP.format(name=name), dataset, json.dumps(asked), *places, out / f"{name}.json"
        )
        assert done.returncode == 0, done.stderr + done.stdout
        found.append(json.loads((out / f"{name}.json").read_text()))
    return found[0], found[1]


def test_what_compress_made_is_measured_and_promoted(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    made, evaluation = steps(folders, tmp_path)
    assert set(made) == {"float32", "weights8"} and made["weights8"] < made["float32"]
    assert [row["name"] for row in evaluation["candidates"]] == list(made)
    champion = Registry().champion("own-signs")
    assert champion is not None and champion.name == evaluation["verdict"]["version"]
    assert evaluation["verdict"]["reason"][1:] in (tmp_path / "page.html").read_text()


def test_a_test_split_of_one_class_is_measured_for_what_it_can_tell(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset_of(tmp_path, one_class=True)
    _, evaluation = steps((tmp_path / "dataset", folders[1]), tmp_path, candidates="float32")
    json.dumps(evaluation, allow_nan=False)
    assert evaluation["per_class"][0]["support"] == 0
    assert {row["auc"] for row in evaluation["per_class"]} == {None}
    assert "NaN" not in (tmp_path / "page.html").read_text()
    assert evaluation["candidates"][0]["test_accuracy"] == evaluation["test_accuracy"]


def test_where_nothing_was_trained_both_pass(folders: tuple[Path, Path], tmp_path: Path) -> None:
    made, evaluation = steps(folders, tmp_path, **{KEY: "trained on the same data"})
    assert (made, evaluation) == ({}, {})
    assert "trained on the same data" in (tmp_path / "page.html").read_text()
    assert Registry().champion("own-signs") is None
