"""What is said of a training before its first step."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.learning.made_training import config, made
from tally.data.format import Meta, open_dataset
from tally.learning.moment import StepPlan
from tally.learning.tensorflow import backend, environment, keras_file

keras = environment.load_keras()
layers = keras.layers
META = Meta("points", "sequence", (4,), "float32", 1, ("a", "b"))


class Small(keras.Model):
    """Keras saves it, and cannot load it: its __init__ takes nothing of its config."""

    def __init__(self) -> None:
        super().__init__()
        self.last = layers.Dense(2, activation="softmax")

    def call(self, x: Any) -> Any:
        return self.last(x)


class Whole(Small):
    """The same, that Keras can load."""

    def __init__(self, **given: Any) -> None:
        keras.Model.__init__(self, **given)
        self.last = layers.Dense(2, activation="softmax")


def normalised() -> Any:
    normal = layers.BatchNormalization(name="norm")
    return keras.Sequential([keras.Input((4,)), normal, layers.Dense(2, activation="softmax")])


def logits() -> Any:
    return keras.Sequential([keras.Input((4,)), layers.Dense(2)])


class Centred(layers.Layer):
    """Keeps nothing, and goes by the examples of a batch."""

    def call(self, x: Any) -> Any:
        return x - keras.ops.mean(x, axis=0, keepdims=True)


def centred() -> Any:
    last = layers.Dense(2, activation="softmax")
    return keras.Sequential([keras.Input((4,)), Centred(), last])


def plain() -> Any:
    dropped = layers.Dropout(0.5)
    return keras.Sequential([keras.Input((4,)), dropped, layers.Dense(2, activation="softmax")])


def split(folder: Path) -> Any:
    x = np.random.default_rng(3).normal(size=(60, 4)).astype(np.float32)
    if not folder.exists():
        made(folder, META, x, (x[:, 0] > 0).astype(np.int32))
    return open_dataset(folder).splits["train"]


def said(model: Any, folder: Path, **changes: Any) -> list[str]:
    if not model.built:
        model(keras.Input((4,)))
    given = config(folder, folder, model="mine.py", **changes)
    plan = {k: getattr(given, k) for k in ("batch_size", "virtual_shards", "deterministic")}
    training = backend.prepare(model, META, StepPlan(**plan, learning_rate=0.1, seed=1))
    return training.remarks(given, split(folder / "data"))


def test_what_a_model_ends_in_and_what_keras_cannot_load(tmp_path: Path) -> None:
    assert said(logits(), tmp_path) == ["the model ends in logits: its answers are their softmax"]
    (line,) = said(Small(), tmp_path)
    for words in ("model.keras is left out", "Small: ", "argument 'trainable'", "model() of mine"):
        assert words in line
    assert said(Whole(), tmp_path) == []


def test_only_what_keras_can_load_is_written(tmp_path: Path) -> None:
    path = tmp_path / keras_file.NAME
    for model, written in ((Small(), False), (Whole(), True)):
        model(keras.Input((4,)))
        assert keras_file.write(path, model) == ""
        assert path.exists() == written
    with keras.saving.custom_object_scope({"Whole": Whole}):
        assert keras.models.load_model(path).count_params() == model.count_params()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"max_workers": 3}, 'what norm computes .*; SET="deterministic=true" ends that'),
        (
            {"deterministic": True, "max_workers": 3},
            'norm: .* got those of 2, .* pass SET="batch_size=192"$',
        ),
        (
            {"deterministic": True, "max_workers": 2},
            'norm: .* SET="batch_size=192 or virtual_shards=2"$',
        ),
        ({"deterministic": True, "batch_size": 192}, None),
    ],
    ids=["alone", "a gang", "small shards", "two", "shards of 16"],
)
def test_what_the_weights_depend_on_by_name(
    changes: Any, words: str | None, tmp_path: Path
) -> None:
    found = said(normalised(), tmp_path, **changes)
    assert len(found) == (words is not None)
    assert words is None or re.search(words, found[0]), found


def test_what_no_name_tells_is_tried(tmp_path: Path) -> None:
    (line,) = said(centred(), tmp_path, max_workers=2)
    assert "what one of its layers, or its loss, computes depends on which examples" in line
    assert said(centred(), tmp_path) == []
    assert said(plain(), tmp_path, max_workers=2) == []
