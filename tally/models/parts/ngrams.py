"""Text as the character n-grams that are in it, each by a hashed embedding of its own.

What a linear model on n-grams knows of a text, as one vector: the wide half beside a deep one,
which reads the characters in order. The hash is part of the graph, so that a file of the model
needs nothing but tokens.

Source: Bojanowski et al., Enriching word vectors with subword information, TACL 2017 (hashed
n-grams); Cheng et al., Wide and deep learning, 2016.
"""

from typing import Any

from tally.data.content import Meta
from tally.errors import DataError
from tally.models import flops

LONGEST = 5  # characters of an n-gram; single ones have a table of their own
BUCKETS = 8191  # of each length
DROPOUT = 0.3
_MULTIPLIER, _MODULUS = 263, 4_194_301  # their product, and a token, fit into 31 bits

Tensor = Any


def check(model: str, meta: Meta) -> None:
    """Refuse what is no text.

    Raises:
        DataError: says what the model takes.
    """
    if meta.kind != "tokens" or len(meta.input_shape) != 1 or not meta.vocabulary:
        raise DataError(
            f"models/{model}: expected tokens (length,) with a vocabulary, got {meta.kind} of "
            f"shape {meta.input_shape} in dataset {meta.name}; choose a dataset of text, or "
            "another model"
        )


def ended(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens with a place after the last one, where n-grams see that the text ends, and a mask.

    Args:
        tokens: int32 (n, length), padded in front with 0.

    Returns:
        int32 (n, length + 1), and float32 (n, length + 1, 1) that is 1 from the text's start on.
    """
    from keras import ops

    real = ops.cast(ops.not_equal(tokens, 0), "float32")
    mask = ops.maximum(ops.pad(real, [[0, 0], [0, 1]]), ops.pad(real, [[0, 0], [1, 0]]))
    return ops.pad(tokens, [[0, 0], [0, 1]]), ops.expand_dims(mask, -1)


def strongest(tokens: Tensor, mask: Tensor, vocabulary: int, width: int) -> Tensor:
    """The strongest of what the n-grams of a text say: float32 (n, width), 0 or more.

    Args:
        tokens, mask: from `ended`.
        vocabulary: number of tokens.
        width: of the embeddings.
    """
    from keras import layers as kl
    from keras import ops

    said = [kl.Embedding(vocabulary, width, name="ngrams_1")(tokens)]
    code = before = tokens
    for length in range(2, LONGEST + 1):
        before = ops.pad(before[:, :-1], [[0, 0], [1, 0]])
        code = ops.mod(code * _MULTIPLIER + before, _MODULUS)
        table = kl.Embedding(BUCKETS, width, name=f"ngrams_{length}")
        said.append(table(ops.mod(code, BUCKETS)))
    return peak(kl.Dropout(DROPOUT)(kl.Add()(said)), mask)


def peak(x: Tensor, mask: Tensor) -> Tensor:
    """The maximum over a text's places, 0 where all are below: (n, length, width) → (n, width)."""
    from keras import layers as kl

    return kl.GlobalMaxPooling1D()(kl.Multiply()([kl.ReLU()(x), mask]))


def layers(length: int, vocabulary: int, width: int) -> list[flops.LayerCost]:
    """What `strongest` costs for one example of `length` places."""
    tables = [vocabulary, *[BUCKETS] * (LONGEST - 1)]
    return [
        *(flops.embedding(length, rows, width) for rows in tables),
        flops.added(length * width, len(tables)),
        *peak_layers(length, width),
    ]


def peak_layers(length: int, width: int) -> list[flops.LayerCost]:
    """What `peak` costs."""
    return [flops.relu((length, width)), *flops.masked_max(length, width)]
