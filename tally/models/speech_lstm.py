"""`speech_lstm`: words in one second of sound, by an LSTM along their mel spectrum."""

from typing import TYPE_CHECKING

from tally.data.format import Meta
from tally.models import flops
from tally.models.parts import head, logmel

if TYPE_CHECKING:
    import keras

UNITS = 128
DROPOUT = 0.3


def check(meta: Meta) -> None:
    """Say whether the model fits the dataset, without building it.

    Raises:
        DataError: no sound, or not of one second.
    """
    logmel.check("speech_lstm", meta)


def build(meta: Meta) -> "keras.Model":
    """The untrained model: float32 samples (n, samples) → probabilities (n, classes)."""
    import keras
    from keras import layers as kl

    inputs = keras.Input(meta.input_shape)
    x = kl.SpatialDropout1D(DROPOUT / 3)(logmel.features(inputs))
    x = kl.LSTM(UNITS, return_sequences=True)(x)
    x = kl.Dropout(DROPOUT)(kl.GlobalMaxPooling1D()(x))
    outputs = head.outputs(meta)(x)
    return keras.Model(inputs, outputs, name="speech_lstm")


def layers(meta: Meta) -> list[flops.LayerCost]:
    """What each layer costs for one example."""
    return [
        *logmel.layers(),
        flops.lstm(logmel.FRAMES, logmel.BANDS, UNITS, first=True),
        *head.cost(meta, UNITS),
    ]
