"""A user's file that names its task: its arrays are that task's targets."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.tasks import finding
from helpers.tasks.made import pictures, register, some_boxes, some_heat
from tally import userfile
from tally.data import registry
from tally.data.format import open_dataset
from tally.data.head import head
from tally.errors import DataError, SpecError
from tally.spec import Spec


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    register(monkeypatch)


USERS = """
import sys
import numpy as np
from helpers.tasks import boxes, finding
from tally.tasks.plain import Plain
from tally.tasks.task import Task
from helpers.tasks.made import pictures, some_boxes, some_heat
TASK = {task}
def dataset():
    x = pictures(30).astype(np.float32)
    heat = some_heat(30)
    boxes = {{"boxes": some_boxes(30)}}
    first = lambda y: {{name: each[:20] for name, each in y.items()}}
    rest = lambda y: {{name: each[20:] for name, each in y.items()}}
    return {returned}
"""
BOTH = "(x[:20], first({0})), (x[20:], rest({0}))"


def of_user(folder: Path, task: str, returned: str) -> Path:
    path = folder / "mine.py"
    path.write_text(USERS.format(task=task, returned=returned))
    return path


@pytest.mark.parametrize("task", ["boxes", "heat"])
def test_a_users_file_names_its_task(tmp_path, task):
    path = of_user(tmp_path, f"'{task}'", BOTH.format(task))
    folder, _ = registry.prepare(Spec(dataset=str(path)))
    dataset = open_dataset(folder, verify=("train", "test"))
    assert dataset.meta.task == task and set(dataset.meta.learnt) == {"scale"}
    x, y = dataset.splits["test"].gather(np.arange(10))
    assert (x[..., 0] == pictures(30)[20:, :, :, 0]).all()
    if task == "heat":
        assert all((y[name] == each[20:]).all() for name, each in some_heat(30).items())
    else:
        rows = np.concatenate(some_boxes(30)[20:])
        assert (y["boxes"][y["boxes_mask"].astype(bool)] == rows).all()
    assert registry.prepare(Spec(dataset=str(path))) == (folder, True)
    path.write_text(path.read_text().replace("return (x[:20]", "boxes['boxes'][3] *= 0.5\n"
                    "    heat['heat'][3] *= 0.5\n    return (x[:20]"))  # fmt: skip
    assert registry.prepare(Spec(dataset=str(path)))[0] != folder


USER_ERRORS = {
    "no task at all": ("object()", BOTH.format("boxes"), SpecError, "got object without name, tot"),
    "a class": (
        "boxes.Boxes", BOTH.format("boxes"), SpecError, r"got the class Boxes; write TASK = Boxes"
    ),
    "half a task": (
        "boxes.Boxes()", BOTH.format("boxes"), SpecError,
        "got Boxes without headline, reported, decode, sure, measure, value, paired, row, sentence,"
    ),
    "the protocol's own": (
        "type('Mine', (Task,), {'name': 'mine'})()", BOTH.format("boxes"), SpecError,
        "got Mine without totals, .*, prepare, check, ",
    ),
    "no scores": (
        "type('Mine', (Plain,), {})()", BOTH.format("boxes"), SpecError,
        "expected a file that imports, got TypeError: .*abstract method '?scores",
    ),
    "no headline": (
        "type('Mine', (type(finding.TASK),), {'headline': 'good'})()", BOTH.format("boxes"),
        SpecError, "a tally.tasks.task.Headline among what is reported, got 'good'",
    ),
    "no name": ("3", BOTH.format("boxes"), SpecError, "TASK to be the name of a task .* got int"),
    "no task": ("'bxes'", BOTH.format("boxes"), SpecError, "expected one of .*, got bxes"),
    "a source": ("'boxes'", "'digits'", SpecError, "to return arrays for the task boxes"),
    "augmented": ("'boxes'", BOTH.format("boxes"), SpecError, "augment: expected 0 or 1"),
    "other targets": ("'heat'", BOTH.format("boxes"), DataError, "of the task heat, got others"),
    "too many": (
        "'boxes'", "(x[:9], first(boxes)), (x[20:], rest(boxes))", DataError,
        "expected a boxes for each example of the train split",
    ),
    "numbers without a task": (
        "None", "(x[:20], np.zeros(20)), (x[20:], np.zeros(10))", DataError,
        r"expected whole-number labels of shape \(examples,\), got float64 of shape \(20,\)",
    ),
    "names without a task": (
        "None", BOTH.format("boxes"), DataError, "a label for each example of the train split"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_users_file_with_another_task_than_it_names_is_one_line(tmp_path, name):
    task, returned, kind, message = USER_ERRORS[name]
    path = of_user(tmp_path, task, returned)
    spec = Spec(dataset=str(path), augment=2 if name == "augmented" else 0)
    with pytest.raises(kind, match=message) as caught:
        registry.prepare(spec)
    assert "\n" not in str(caught.value)


OWN = Path(finding.__file__)


def test_a_file_that_brings_its_task_has_its_dataset_and_an_edited_one_another(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN.read_text())
    folder, _ = registry.prepare(Spec(dataset=str(path)))
    meta = open_dataset(folder, verify=("train", "test")).meta
    assert (meta.task, meta.learnt) == (str(path), {"scale": 4.0})
    assert registry.prepare(Spec(dataset=str(path))) == (folder, True)
    path.write_text(OWN.read_text().replace("< 2", "< 1"))
    assert registry.prepare(Spec(dataset=str(path)))[0] != folder
    path.unlink()
    assert head(open_dataset(folder).meta).answer == (4, 4, 3)  # nobody runs the file to quote


def test_it_travels_to_pods_with_its_task(tmp_path, monkeypatch):
    monkeypatch.setattr(userfile, "POD_FOLDER", tmp_path / "pod")
    file = userfile.read(str(OWN), ["dataset", "model"])
    variables = {userfile.VARIABLE: userfile.pack([file])}
    userfile.unpack(variables)
    folder, _ = registry.prepare(Spec(dataset=file.pod_path))
    shutil.rmtree(tmp_path / "pod")
    code = (
        "import sys; from pathlib import Path; from tally import userfile; "
        "from tally.data.format import open_dataset; from tally.tasks import registry; "
        "userfile.unpack(); meta = open_dataset(Path(sys.argv[1])).meta; "
        "task = registry.named(meta.task); "
        "print(task.name, task.target(meta.facts)['boxes'].ragged)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, **variables}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Finding True\n"), done.stderr
