"""Which examples a step sees: stateless, so that any process can say it for any step."""

import numpy as np

from tally.data.format import Array


def epoch_order(seed: int, epoch: int, examples: int) -> Array:
    """The order of one epoch: a permutation of 0 … examples - 1, int64 (examples,).

    Args:
        seed: the run's.
        epoch: from 0.
        examples: in the training split.
    """
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples)


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Optimiser steps an epoch takes; the last one may be smaller, nothing is dropped."""
    return -(-examples // batch_size)


def step_number(epoch: int, offset: int, examples: int, batch_size: int) -> int:
    """The number of optimiser steps done when epoch `epoch` stands at `offset` examples."""
    return epoch * steps_per_epoch(examples, batch_size) + steps_per_epoch(offset, batch_size)
