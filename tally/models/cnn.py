"""`cnn`: a small convolutional network for pictures, 28 × 28 × 1 → 26 × 26 × 32 → 13 × 13 × 32."""

from typing import TYPE_CHECKING

from tally.data.format import Meta
from tally.errors import DataError
from tally.models import flops
from tally.models.parts import head

if TYPE_CHECKING:
    import keras

FILTERS, KERNEL, WINDOW, UNITS = 32, 3, 2, 128


def check(meta: Meta) -> None:
    """Say whether the model fits the dataset, without building it.

    Raises:
        DataError: no pictures, or pictures too small for a convolution and a pooling.
    """
    smallest = KERNEL + WINDOW - 1
    shape = meta.input_shape
    if meta.kind != "image" or len(shape) != 3 or min(shape[:2]) < smallest:
        raise DataError(
            f"models/cnn: expected pictures (height, width, channels) of at least {smallest} × "
            f"{smallest}, got {meta.kind} of shape {shape} in dataset {meta.name}; "
            "choose another dataset, or PIPELINE=rnn for sequences and text"
        )


def build(meta: Meta) -> "keras.Model":
    """The untrained model: float32 (n, height, width, channels) → probabilities (n, classes)."""
    import keras

    return keras.Sequential(
        [
            keras.Input(meta.input_shape),
            keras.layers.Conv2D(FILTERS, KERNEL, activation="relu"),
            keras.layers.MaxPooling2D(WINDOW),
            keras.layers.Flatten(),
            keras.layers.Dense(UNITS, activation="relu"),
            head.outputs(meta),
        ],
        name="cnn",
    )


def layers(meta: Meta) -> list[flops.LayerCost]:
    """What each layer costs for one example."""
    height, width, channels = meta.input_shape
    convolution = flops.conv2d(height, width, channels, FILTERS, KERNEL, first=True)
    rows, columns, _ = convolution.output_shape
    pool = flops.max_pool(rows, columns, FILTERS, WINDOW)
    flat = pool.output_shape[0] * pool.output_shape[1] * FILTERS
    return [
        convolution,
        flops.relu(convolution.output_shape),
        pool,
        flops.dense(flat, UNITS),
        flops.relu((UNITS,)),
        *head.cost(meta, UNITS),
    ]
