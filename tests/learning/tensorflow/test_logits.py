"""Whether a user's model ends in logits is found once, and all who take its outputs go by it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tally.compression import saved
from tally.data.format import Meta
from tally.learning.tensorflow import ending, environment
from tally.tasks.task import Batch

keras = environment.load_keras()
layers, ops = keras.layers, keras.ops
META = Meta("points", "sequence", (5,), "float32", 1, ("a", "b", "c"))


class Own(keras.Model):
    """A subclass, of which no graph says how it ends."""

    def __init__(self, closed: bool) -> None:
        super().__init__()
        self.last, self.closed = layers.Dense(3), closed

    def call(self, x: Any) -> Any:
        return ops.softmax(self.last(x)) if self.closed else self.last(x)


def ends(*last: Any) -> Any:
    return keras.Sequential([keras.Input((5,)), *last])


def functional(end: Any) -> Any:
    x = keras.Input((5,))
    return keras.Model(x, end(layers.Dense(3)(x)))


def compiled(model: Any, loss: Any) -> Any:
    model.compile("sgd", loss)
    return model


def own_softmax(x: Any) -> Any:
    return ops.exp(x) / ops.sum(ops.exp(x), axis=-1, keepdims=True)


WITH_LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
LOGITS = {
    "dense": lambda: ends(layers.Dense(3)),
    "relu": lambda: ends(layers.Dense(3, activation="relu")),
    "log softmax": lambda: ends(layers.Dense(3, activation="log_softmax")),
    "float16": lambda: ends(layers.Dense(3, dtype="mixed_float16")),
    "nested": lambda: ends(ends(layers.Dense(3))),
    "lambda": lambda: functional(lambda x: 2 * x),
    "normalised": lambda: ends(layers.Dense(3), layers.BatchNormalization()),
    "subclass": lambda: Own(closed=False),
    "compiled with": lambda: compiled(ends(layers.Dense(3)), WITH_LOGITS),
    "own compiled with": lambda: compiled(Own(closed=False), WITH_LOGITS),
}
CLOSED = {
    "dense": lambda: ends(layers.Dense(3, activation="softmax")),
    "sigmoids": lambda: ends(layers.Dense(3, activation="sigmoid")),
    "activation": lambda: ends(
        layers.Dense(3, dtype="mixed_float16"), layers.Activation("softmax", dtype="float32")
    ),
    "bfloat16": lambda: ends(layers.Dense(3, activation="softmax", dtype="bfloat16")),
    "layer": lambda: ends(layers.Dense(3), layers.Softmax()),
    "operation": lambda: functional(ops.softmax),
    "nested": lambda: ends(ends(layers.Dense(3, activation="softmax"))),
    "cast": lambda: functional(lambda x: ops.cast(ops.softmax(ops.cast(x, "bfloat16")), "float32")),
    "own activation": lambda: ends(layers.Dense(3, activation=own_softmax)),
    "subclass": lambda: Own(closed=True),
}


@pytest.mark.parametrize("make", LOGITS.values(), ids=LOGITS)
def test_logits_lack_the_tasks_activation(make: Any, tmp_path: Path) -> None:
    model, x = make(), np.random.default_rng(2).normal(size=(7, 5)).astype(np.float32)
    outputs = model(x)
    assert ending.missing(model, META) == "softmax"
    exponents = np.exp(np.asarray(outputs, np.float64))
    wanted = exponents / exponents.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ending.finished(model, META)(outputs), wanted, atol=1e-3)
    saved.save(model, META, tmp_path / "saved")
    assert_serves(tmp_path / "saved", x, wanted)


@pytest.mark.parametrize("make", CLOSED.values(), ids=CLOSED)
def test_probabilities_stay_what_they_are(make: Any, tmp_path: Path) -> None:
    model, x = make(), np.random.default_rng(2).normal(size=(7, 5)).astype(np.float32)
    outputs = model(x)
    assert ending.missing(model, META) == ""
    assert ending.finished(model, META)(outputs) is outputs
    saved.save(model, META, tmp_path / "saved")
    assert_serves(tmp_path / "saved", x, np.asarray(outputs, np.float64))


def assert_serves(folder: Path, x: Any, wanted: Any) -> None:
    import tensorflow as tf

    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    found = np.asarray(serve(inputs=tf.constant(x))["outputs"], np.float64)
    np.testing.assert_allclose(found, wanted, atol=4e-3)


def test_the_loss_of_logits_is_that_of_keras_with_from_logits() -> None:
    import tensorflow as tf

    model = ends(layers.Dense(3))
    x, y = 100 * np.eye(5, dtype=np.float32), np.arange(5, dtype=np.int32) % 3
    by_example = ending.loss(model, META)

    @tf.function(autograph=False)
    def traced() -> Any:
        return by_example(Batch(x, y), model(tf.constant(x)))[0]

    whole = keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
    np.testing.assert_allclose(traced(), whole, rtol=1e-5)  # of hundreds: no clipped probability


def test_a_compiled_models_loss_gets_its_own_outputs() -> None:
    model = compiled(ends(layers.Dense(3)), WITH_LOGITS)
    x, y = np.eye(5, dtype=np.float32), np.arange(5, dtype=np.int32) % 3
    found, _ = ending.loss(model, META)(Batch(x, y), model(x))
    wanted = keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_numbers_lack_nothing() -> None:
    numbers = Meta("n", "sequence", (5,), "float32", 1).learning(
        "regression", {"mean": 0.0, "scale": 1.0}
    )
    assert ending.missing(ends(layers.Dense(1)), numbers) == ""
