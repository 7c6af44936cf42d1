"""Random layers draw by example: any rows alone are what they are in the whole batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tally.data.format import Array
from tally.learning.tensorflow import environment, randomness

pytestmark = pytest.mark.exact

keras = environment.load_keras()
kl = keras.layers
ROWS = 40


def drawn(
    layers: Any, shape: tuple[int, ...], first: int, last: int, *, epoch: int = 3, seed: int = 9,
    names: set[str] | None = None,
) -> Array:  # fmt: skip
    """What a model of `layers` makes of rows first … last - 1 of a batch of ones."""
    import tensorflow as tf

    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers(inputs)) if callable(layers) else layers

    @tf.function(autograph=False)
    def forward(x: Any, where: Any) -> Any:
        rows = tf.shape(x, out_type=tf.int64)[0]
        point = randomness.Point(where[0], where[1], rows)
        with randomness.keyed(model, seed, point) as not_by_row:
            found = model(x, training=True)
        if names is not None:
            names.update(not_by_row)
        return found

    ones = tf.ones((last - first, *shape))
    return np.asarray(forward(ones, tf.constant([epoch, first], tf.int64)))


BY_ROW: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "dropout": (lambda: kl.Dropout(0.4), (20,)),
    "a width that is no multiple of four": (lambda: kl.Dropout(0.4), (3, 7)),
    "dropout of whole columns": (lambda: kl.Dropout(0.4, noise_shape=(None, 1, 6)), (5, 6)),
    "spatial 1": (lambda: kl.SpatialDropout1D(0.4), (6, 9)),
    "spatial 2": (lambda: kl.SpatialDropout2D(0.4), (3, 5, 8)),
    "spatial 2, channels first": (
        lambda: kl.SpatialDropout2D(0.4, data_format="channels_first"), (8, 3, 5)
    ),
    "spatial 3": (lambda: kl.SpatialDropout3D(0.4), (2, 3, 2, 5)),
    "gaussian noise": (lambda: kl.GaussianNoise(0.5), (11,)),
    "gaussian dropout": (lambda: kl.GaussianDropout(0.4), (4, 4)),
    "lstm": (lambda: kl.LSTM(6, dropout=0.4, recurrent_dropout=0.3), (5, 3)),
    "gru": (lambda: kl.GRU(6, dropout=0.4, recurrent_dropout=0.3), (5, 3)),
    "attention": (lambda: lambda x: kl.MultiHeadAttention(2, 4, dropout=0.4)(x, x), (5, 8)),
}  # fmt: skip


@pytest.mark.parametrize(("made", "shape"), BY_ROW.values(), ids=BY_ROW)
def test_rows_are_drawn_alone_as_in_the_whole_batch(made: Any, shape: tuple[int, ...]) -> None:
    keras.utils.set_random_seed(1)
    inputs = keras.Input(shape)
    model = keras.Model(inputs, made()(inputs))
    names: set[str] = set()
    whole = drawn(model, shape, 0, ROWS, names=names)
    assert not names
    for first, last in ((0, 1), (5, 17), (39, 40)):
        alone = drawn(model, shape, first, last)
        np.testing.assert_allclose(alone, whole[first:last], rtol=1e-6, atol=1e-7)
    rows = {row.tobytes() for row in whole}
    assert len(rows) > ROWS / 2, "rows differ from each other"
    for changes in ({"epoch": 4}, {"seed": 10}):
        other = drawn(model, shape, 0, ROWS, **changes)
        assert (other != whole).mean() > 0.1


def test_dropout_is_kerass_formula() -> None:
    found = drawn(kl.Dropout(0.3), (400,), 0, ROWS)
    kept = np.float32(1) * np.float32(1 / 0.7)
    assert set(np.unique(found)) == {np.float32(0), kept}
    assert abs((found == 0).mean() - 0.3) < 0.02
    column = drawn(kl.SpatialDropout1D(0.3), (50, 16), 0, ROWS)
    assert (column == column[:, :1]).all(), "a column is dropped whole"
    noise = drawn(kl.GaussianNoise(0.5), (400,), 0, ROWS)
    assert abs(noise.mean() - 1) < 0.02
    assert abs(noise.std() - 0.5) < 0.02
    spread = drawn(kl.GaussianDropout(0.2), (400,), 0, ROWS)
    assert abs(spread.mean() - 1) < 0.02
    assert abs(spread.std() - 0.5) < 0.02


def test_layers_and_calls_of_a_layer_draw_apart() -> None:
    shared = kl.Dropout(0.5)
    found = drawn(
        lambda x: keras.ops.stack([shared(x), shared(x), kl.Dropout(0.5)(x)]), (64,), 0, ROWS
    )
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert 0.4 < (found[one] != found[other]).mean() < 0.6


def test_rows_that_are_folded_into_the_first_dimension_stay_theirs() -> None:
    def layers(x: Any) -> Any:
        folded = kl.Dropout(0.5)(keras.ops.reshape(x, (-1, 8)))
        return keras.ops.reshape(folded, (-1, 6, 8))

    whole = drawn(layers, (6, 8), 0, ROWS)
    np.testing.assert_array_equal(drawn(layers, (6, 8), 7, 20), whole[7:20])


class Wandering(keras.layers.Layer):
    """A recurrent cell of a user's own that drops anew at each step."""

    state_size = output_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.drop = kl.Dropout(0.5, name="inner")

    def call(self, x: Any, states: list[Any], training: bool = False) -> Any:
        found = self.drop(x, training=training)
        return found, [found]


def test_a_layer_in_a_loop_draws_anew_at_each_turn_and_is_named() -> None:
    cell = kl.RNN(Wandering(), return_sequences=True)
    names: set[str] = set()
    found = drawn(cell, (10, 8), 0, ROWS, names=names)
    assert names == {"inner"}
    assert 0.4 < (found[:, 3] != found[:, 7]).mean() < 0.6


class OwnNoise(keras.layers.Layer):
    """A random layer of a user's own, from Keras's generator for all."""

    def call(self, x: Any, training: bool = False) -> Any:
        return x + keras.random.normal(keras.ops.shape(x)) if training else x


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda: kl.AlphaDropout(0.5, name="alpha"), {"alpha"}),
        (OwnNoise, {"keras.random"}),
        (lambda: kl.Dropout(0.5, noise_shape=(1, None), name="one-mask"), {"one-mask"}),
    ],
    ids=["alpha dropout", "keras.random", "one mask for a batch"],
)
def test_what_is_not_drawn_by_row_depends_on_the_point_alone(made: Any, named: set[str]) -> None:
    inputs = keras.Input((16,))
    model = keras.Model(inputs, made()(inputs))
    names: set[str] = set()
    once = drawn(model, (16,), 8, 20, names=names)
    assert names == named
    drawn(model, (16,), 0, 3)
    np.testing.assert_array_equal(drawn(model, (16,), 8, 20), once)
    for changes in ({"epoch": 4}, {"seed": 10}):
        assert (drawn(model, (16,), 8, 20, **changes) != once).mean() > 0.2
    assert (drawn(model, (16,), 9, 21) != once).mean() > 0.2


def test_a_random_layer_does_nothing_when_it_is_not_trained() -> None:
    inputs = keras.Input((16,))
    model = keras.Model(inputs, kl.GaussianNoise(0.5)(kl.Dropout(0.5)(inputs)))
    drawn(model, (16,), 0, 3)
    x = np.ones((2, 16), np.float32)
    np.testing.assert_array_equal(model(x, training=False), x)
    assert (np.asarray(model(x, training=True)) != x).any(), "and is Keras's own again"
