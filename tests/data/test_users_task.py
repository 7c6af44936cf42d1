"""A user's file that names its task: its arrays are that task's targets."""

from pathlib import Path

import numpy as np
import pytest

from helpers.tasks.made import pictures, register, some_boxes, some_heat
from tally.data import registry
from tally.data.format import open_dataset
from tally.errors import DataError, SpecError
from tally.spec import Spec


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    register(monkeypatch)


USERS = """
import sys
import numpy as np
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
