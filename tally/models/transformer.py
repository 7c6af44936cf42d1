"""`transformer`: a pre-norm encoder for text, beside what the text's n-grams say."""

from typing import TYPE_CHECKING

from tally.data.format import Meta
from tally.models import flops
from tally.models.parts import encoder, head, ngrams

if TYPE_CHECKING:
    import keras

WIDTH, HEADS, BLOCKS = 64, 4, 1
DROPOUT = 0.5  # thousands of short texts are learnt by heart within three epochs without


def check(meta: Meta) -> None:
    """Say whether the model fits the dataset, without building it.

    Raises:
        DataError: no text, or text without a vocabulary.
    """
    ngrams.check("transformer", meta)


def build(meta: Meta) -> "keras.Model":
    """The untrained model: int32 tokens (n, length) → probabilities (n, classes)."""
    import keras
    from keras import layers as kl

    inputs = keras.Input(meta.input_shape, dtype="int32")
    tokens, mask = ngrams.ended(inputs)
    x = encoder.positions(kl.Embedding(len(meta.vocabulary), WIDTH, name="characters")(tokens))
    x = kl.Dropout(ngrams.DROPOUT)(x)
    for _ in range(BLOCKS):
        x = encoder.block(x, mask, HEADS, DROPOUT)
    deep = kl.Dropout(DROPOUT)(ngrams.peak(kl.LayerNormalization()(x), mask))
    wide = ngrams.strongest(tokens, mask, len(meta.vocabulary), WIDTH)
    both = kl.Dropout(ngrams.DROPOUT)(kl.Concatenate()([wide, deep]))
    outputs = head.outputs(meta)(both)
    return keras.Model(inputs, outputs, name="transformer")


def layers(meta: Meta) -> list[flops.LayerCost]:
    """What each layer costs for one example."""
    length, vocabulary = meta.input_shape[0] + 1, len(meta.vocabulary)
    blocks = [encoder.block_layers(length, WIDTH, HEADS) for _ in range(BLOCKS)]
    return [
        flops.embedding(length, vocabulary, WIDTH),
        *encoder.positions_layers(length, WIDTH),
        *(layer for block in blocks for layer in block),
        flops.layer_normalization(length, WIDTH),
        *ngrams.peak_layers(length, WIDTH),
        *ngrams.layers(length, vocabulary, WIDTH),
        *head.cost(meta, 2 * WIDTH),
    ]
