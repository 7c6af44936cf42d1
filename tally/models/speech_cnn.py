"""`speech_cnn`: words in one second of sound, by convolutions over their mel spectrum."""

from typing import TYPE_CHECKING

from tally.data.format import Meta
from tally.models import flops
from tally.models.parts import head, logmel

if TYPE_CHECKING:
    import keras

FILTERS, KERNEL, WINDOW = (32, 64, 64), 3, 2
DROPOUT = 0.3


def check(meta: Meta) -> None:
    """Say whether the model fits the dataset, without building it.

    Raises:
        DataError: no sound, or not of one second.
    """
    logmel.check("speech_cnn", meta)


def build(meta: Meta) -> "keras.Model":
    """The untrained model: float32 samples (n, samples) → probabilities (n, classes)."""
    import keras
    from keras import layers as kl

    inputs = keras.Input(meta.input_shape)
    x = kl.Reshape((logmel.FRAMES, logmel.BANDS, 1))(logmel.features(inputs))
    for filters in FILTERS[:-1]:
        x = kl.MaxPooling2D(WINDOW)(kl.Conv2D(filters, KERNEL, activation="relu")(x))
        x = kl.Dropout(DROPOUT)(x)
    x = kl.Conv2D(FILTERS[-1], KERNEL, activation="relu")(x)
    x = kl.Dropout(DROPOUT)(kl.GlobalAveragePooling2D()(x))
    outputs = head.outputs(meta)(x)
    return keras.Model(inputs, outputs, name="speech_cnn")


def layers(meta: Meta) -> list[flops.LayerCost]:
    """What each layer costs for one example."""
    found = logmel.layers()
    height, width, channels = logmel.FRAMES, logmel.BANDS, 1
    for number, filters in enumerate(FILTERS):
        found.append(flops.conv2d(height, width, channels, filters, KERNEL, first=number == 0))
        height, width, channels = found[-1].output_shape
        found.append(flops.relu((height, width, channels)))
        if number < len(FILTERS) - 1:
            found.append(flops.max_pool(height, width, channels, WINDOW))
            height, width, channels = found[-1].output_shape
    return [
        *found,
        flops.average(height * width, channels),
        *head.cost(meta, channels),
    ]
