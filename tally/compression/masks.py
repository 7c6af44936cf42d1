"""Which weights stay: pure, numpy only."""

import numpy as np

from tally.data.content import Array


def sparsity_at(fraction: float, final: float) -> float:
    """The share of weights that are zero at a point of the pruning: fast first, then slower.

    Args:
        fraction: of the pruning done, 0 to 1.
        final: share at its end.

    Source: Zhu and Gupta, To prune, or not to prune, 2017, eq. 1, from an initial share of 0.
    """
    return float(final * (1.0 - (1.0 - min(max(fraction, 0.0), 1.0)) ** 3))


def magnitude(weights: Array, sparsity: float) -> Array:
    """Keep the largest: bool of the weights' shape, False for round(sparsity × size) of them."""
    gone = round(sparsity * weights.size)
    kept = np.ones(weights.size, bool)
    kept[np.argsort(np.abs(weights), axis=None, kind="stable")[:gone]] = False
    return kept.reshape(weights.shape)


def two_of_four(weights: Array) -> Array:
    """Of each four weights in a row that feed one output, keep the two largest.

    Rows are along what is summed over: all axes but the last, as Keras keeps kernels. What is left
    over of fewer than four stays.
    """
    rows = weights.reshape(-1, weights.shape[-1])
    whole = len(rows) // 4 * 4
    fours = np.abs(rows[:whole]).reshape(whole // 4, 4, rows.shape[1])
    # the rank of each by size, ties by place: exactly two of four have 2 or 3
    rank = np.argsort(np.argsort(fours, axis=1, kind="stable"), axis=1, kind="stable")
    kept = np.ones(rows.shape, bool)
    kept[:whole] = (rank >= 2).reshape(whole, rows.shape[1])
    return kept.reshape(weights.shape)
