"""A smaller model gives what the larger would with its lightest units taken out."""

import numpy as np
import pytest

from tally.compression import saved, structured
from tally.errors import DataError


def convolutional():
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((12, 12, 2)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(10, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )


def recurrent():
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((5, 3)),
            layers.LSTM(8, return_sequences=True),
            layers.GRU(6),
            layers.Dense(4, activation="softmax"),
        ]
    )


def text():
    from tally.data.content import Meta
    from tally.models import lstm

    return lstm.build(Meta("words", "tokens", (6,), "int32", 1, tuple("abcd"), tuple("-?xyz")))


def silence(model, kept) -> None:
    """Make the units that will go give zeros: their own weights 0."""
    for layer in model.layers:
        if layer.name not in kept:
            continue
        gone = np.setdiff1d(np.arange(layer.output.shape[-1]), kept[layer.name])
        gates = structured._GATES.get(type(layer).__name__, 1)
        units = layer.output.shape[-1]
        columns = np.concatenate([gone + gate * units for gate in range(gates)])
        weights = [w.numpy() for w in layer.weights]
        for value in weights:
            value[..., columns] = 0
        layer.set_weights(weights)


@pytest.mark.parametrize(
    ("make", "inputs", "layers"),
    [
        (convolutional, lambda r: r.normal(size=(3, 12, 12, 2)), 3),
        (recurrent, lambda r: r.normal(size=(3, 5, 3)), 2),
        (text, lambda r: np.array([[1, 2, 3, 0, 0, 0], [4, 4, 4, 4, 4, 4]]), 1),
    ],
)
def test_units_that_give_nothing_go_and_nothing_changes(make, inputs, layers: int) -> None:
    model = make()
    kept = {
        layer.name: structured._kept(layer, 50)
        for layer in model.layers
        if structured._can_shrink(model, layer)
    }
    assert len(kept) == layers
    silence(model, kept)
    x = inputs(np.random.default_rng(5)).astype(model.inputs[0].dtype)
    smaller = structured.smaller(model, 50)
    assert smaller.count_params() < model.count_params()
    # a GRU's silent unit still gives 0: its candidate is tanh(0)
    np.testing.assert_allclose(
        smaller(x, training=False), model(x, training=False), rtol=1e-5, atol=1e-6
    )
    if not any("BatchNorm" in type(layer).__name__ for layer in model.layers):
        return
    assert smaller.output_shape == model.output_shape


def test_what_feeds_a_layer_nobody_knows_how_to_shrink_stays_whole() -> None:
    from keras import Input, Model, layers, ops

    inputs = Input((6,))
    first = layers.Dense(8, name="first")(inputs)
    second = layers.Dense(8, name="second")(first)
    outputs = layers.Dense(3)(ops.reshape(second, (-1, 4, 2))[:, :, 0])
    made = structured.smaller(Model(inputs, outputs), 50)
    assert (made.get_layer("first").units, made.get_layer("second").units) == (4, 8)


def test_a_model_in_which_nothing_can_shrink_is_refused() -> None:
    import keras

    only = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    with pytest.raises(DataError, match=r"expected a layer of Dense, .* that feeds another"):
        structured.smaller(only, 50)

    class Mine(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(DataError, match="expected a sequential or functional model, got Mine"):
        structured.smaller(Mine(), 50)


def test_an_unrolled_model_has_the_weights_and_answers_of_the_looped_one() -> None:
    model = recurrent()
    x = np.random.default_rng(3).normal(size=(2, 5, 3)).astype("float32")
    unrolled = saved.unrolled(model)
    assert [layer.unroll for layer in unrolled.layers[:2]] == [True, True]
    np.testing.assert_allclose(unrolled(x), model(x), rtol=1e-5, atol=1e-6)
