"""Transformer encoder blocks: attention and a feed-forward layer, each normalised before.

Made of Keras's plain layers and operations, so that a saved model opens without Tally. What does
not belong to a text gets little weight by an addend of -30, not by one of minus a thousand million,
which would leave eight bits nothing for the weights that matter.

Source: Vaswani et al., Attention is all you need, 2017; Xiong et al., On layer normalization in the
transformer architecture, ICML 2020 (pre-norm).
"""

import math
from typing import Any

from tally.models import flops

HIDDEN = 2  # of the feed-forward layer, times the width
_FAR = -30.0  # e^-30 is 1e-13

Tensor = Any


def positions(x: Tensor) -> Tensor:
    """A learned vector for each place added: (n, length, width) → the same.

    A text's end is always at the same place (shorter ones are padded in front), so places count
    from the end.
    """
    from keras import layers as kl
    from keras import ops

    length, width = x.shape[1:]
    places = ops.cumsum(ops.ones_like(x[:, :, 0], dtype="int32"), axis=1) - 1
    return x + kl.Embedding(length, width, name="positions")(places)


def block(x: Tensor, mask: Tensor, heads: int, dropout: float) -> Tensor:
    """One block: (n, length, width) → the same.

    Args:
        x: what the block before has given.
        mask: float32 (n, length, 1), 1 at the places that belong to the text.
        heads: that attend, width // heads numbers each.
        dropout: of what each half adds.
    """
    from keras import layers as kl

    width = x.shape[-1]
    x = x + kl.Dropout(dropout)(attention(kl.LayerNormalization()(x), mask, heads))
    y = kl.Dense(HIDDEN * width, activation="relu")(kl.LayerNormalization()(x))
    return x + kl.Dropout(dropout)(kl.Dense(width)(kl.Dropout(dropout)(y)))


def attention(x: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Multi-head self-attention: (n, length, width) → the same."""
    from keras import layers as kl
    from keras import ops

    length, width = x.shape[1:]
    each = width // heads

    def split(projected: Tensor) -> Tensor:
        apart = kl.Reshape((length, heads, each))(projected)
        return kl.Permute((2, 1, 3))(apart)

    query, key, value = (split(kl.Dense(width)(x)) for _ in range(3))
    alike = ops.matmul(query, ops.swapaxes(key, 2, 3)) * (1 / math.sqrt(each))
    far = ops.expand_dims(ops.swapaxes(1.0 - mask, 1, 2), 1) * _FAR
    weights = ops.softmax(alike + far, axis=-1)
    together = kl.Permute((2, 1, 3))(ops.matmul(weights, value))
    return kl.Dense(width)(kl.Reshape((length, width))(together))


def positions_layers(length: int, width: int) -> list[flops.LayerCost]:
    """What `positions` costs for one example."""
    return [flops.embedding(length, length, width), flops.added(length * width, 2)]


def block_layers(length: int, width: int, heads: int) -> list[flops.LayerCost]:
    """What `block` costs for one example."""
    dense = flops.dense_each
    return [
        flops.layer_normalization(length, width),
        *(dense(length, width, width) for _ in range(3)),
        flops.attention(length, width, heads),
        dense(length, width, width),
        flops.added(length * width, 2),
        flops.layer_normalization(length, width),
        dense(length, width, HIDDEN * width),
        dense(length, HIDDEN * width, width),
        flops.added(length * width, 2),
    ]
