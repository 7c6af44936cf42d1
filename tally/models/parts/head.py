"""The end of every packaged model: what its dataset's task asks for."""

from typing import Any

from tally.data.format import Meta
from tally.data.head import head
from tally.models import flops
from tally.models.flops import LayerCost


def outputs(meta: Meta) -> Any:
    """What ends a model, to be called with what is before it."""
    import keras

    wanted = head(meta)
    dense = keras.layers.Dense(wanted.units, activation=wanted.activation)
    if not wanted.shape:
        return dense
    return keras.Sequential([dense, keras.layers.Reshape(wanted.shape)], name="answer")


def cost(meta: Meta, inputs: int) -> list[LayerCost]:
    """Its cost, after so many inputs."""
    wanted = head(meta)
    found = [flops.dense(inputs, wanted.units)]
    return [*found, flops.softmax(wanted.units)] if wanted.activation == "softmax" else found
