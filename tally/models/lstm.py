"""`lstm`: a recurrent network for sequences, text and pictures read row by row."""

from typing import TYPE_CHECKING

from tally.data.format import Meta
from tally.errors import DataError
from tally.models import flops
from tally.models.parts import head

if TYPE_CHECKING:
    import keras

UNITS, EMBEDDING = 128, 32
RANKS = {"image": 3, "tokens": 1, "sequence": 2}


def check(meta: Meta) -> None:
    """Say whether the model fits the dataset, without building it.

    Raises:
        DataError: its shape is not what its kind promises, or text without a vocabulary.
    """
    shape = meta.input_shape
    whole = len(shape) == RANKS.get(meta.kind) and min(shape, default=0) >= 1
    if not whole or (meta.kind == "tokens" and not meta.vocabulary):
        raise DataError(
            "models/lstm: expected sequences (length, features), tokens (length,) with a "
            f"vocabulary, or pictures (height, width, channels), got {meta.kind} of shape {shape} "
            f"in dataset {meta.name}; choose another dataset"
        )


def build(meta: Meta) -> "keras.Model":
    """The untrained model: float32 (n, length, features), or the like → probabilities (n, classes).

    Text is int32 tokens (n, length), 0 after its end. The state after the last real token is taken
    from the outputs of all steps: the same as masking the padding, and cheaper, since a mask keeps
    the whole sequence from running as one kernel.
    """
    import keras
    from keras import layers as kl

    if meta.kind == "tokens":
        x = inputs = keras.Input(meta.input_shape, dtype="int32")
        x = kl.Embedding(len(meta.vocabulary), EMBEDDING)(inputs)
        x = kl.LSTM(UNITS, return_sequences=True)(x)
        real = keras.ops.cast(keras.ops.not_equal(inputs, 0), "float32")
        following = keras.ops.pad(real[:, 1:], [[0, 0], [0, 1]])
        last = keras.ops.expand_dims(real * (1.0 - following), -1)
        x = keras.ops.sum(x * last, axis=1)
    else:
        x = inputs = keras.Input(meta.input_shape)
        if meta.kind == "image":
            x = kl.Reshape(_sequence(meta))(x)
        x = kl.LSTM(UNITS)(x)
    outputs = head.outputs(meta)(x)
    return keras.Model(inputs, outputs, name="lstm")


def layers(meta: Meta) -> list[flops.LayerCost]:
    """What each layer costs for one example."""
    length, features = _sequence(meta)
    found = []
    if meta.kind == "tokens":
        found.append(flops.embedding(length, len(meta.vocabulary), features))
    return [
        *found,
        flops.lstm(length, features, UNITS, first=meta.kind != "tokens"),
        *head.cost(meta, UNITS),
    ]


def _sequence(meta: Meta) -> tuple[int, int]:
    """Steps and features a step that the LSTM sees."""
    if meta.kind == "tokens":
        return meta.input_shape[0], EMBEDDING
    if meta.kind == "image":
        height, width, channels = meta.input_shape
        return height, width * channels
    length, features = meta.input_shape
    return length, features
