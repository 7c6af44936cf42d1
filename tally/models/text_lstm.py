"""`text_lstm`: an LSTM over a text's characters, beside what its n-grams say."""

from typing import TYPE_CHECKING

from tally.data.format import Meta
from tally.models import flops
from tally.models.parts import head, ngrams

if TYPE_CHECKING:
    import keras

WIDTH = 64
DROPOUT = 0.5


def check(meta: Meta) -> None:
    """Say whether the model fits the dataset, without building it.

    Raises:
        DataError: no text, or text without a vocabulary.
    """
    ngrams.check("text_lstm", meta)


def build(meta: Meta) -> "keras.Model":
    """The untrained model: int32 tokens (n, length) → probabilities (n, classes)."""
    import keras
    from keras import layers as kl

    inputs = keras.Input(meta.input_shape, dtype="int32")
    tokens, mask = ngrams.ended(inputs)
    x = kl.Embedding(len(meta.vocabulary), WIDTH, name="characters")(tokens)
    x = kl.LSTM(WIDTH, return_sequences=True)(kl.Dropout(ngrams.DROPOUT)(x))
    deep = kl.Dropout(DROPOUT)(ngrams.peak(x, mask))
    wide = ngrams.strongest(tokens, mask, len(meta.vocabulary), WIDTH)
    both = kl.Dropout(ngrams.DROPOUT)(kl.Concatenate()([wide, deep]))
    outputs = head.outputs(meta)(both)
    return keras.Model(inputs, outputs, name="text_lstm")


def layers(meta: Meta) -> list[flops.LayerCost]:
    """What each layer costs for one example."""
    length, vocabulary = meta.input_shape[0] + 1, len(meta.vocabulary)
    return [
        flops.embedding(length, vocabulary, WIDTH),
        flops.lstm(length, WIDTH, WIDTH),
        *ngrams.peak_layers(length, WIDTH),
        *ngrams.layers(length, vocabulary, WIDTH),
        *head.cost(meta, 2 * WIDTH),
    ]
