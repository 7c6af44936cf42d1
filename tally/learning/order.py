"""Which examples a step sees: stateless, so that any process can say it for any step. Pure."""

import numpy as np

from tally.data.content import Array


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


def shard_bounds(examples: int, virtual_shards: int) -> Array:
    """Where the virtual shards of a step begin and end, int64 (virtual_shards + 1,).

    Shard v has the rows bounds[v] … bounds[v + 1] - 1 of the step; with fewer examples than shards
    some have none.

    Args:
        examples: of the whole step; the last of an epoch has fewer than the others.
        virtual_shards: of the run, whatever the number of workers.
    """
    return np.arange(virtual_shards + 1, dtype=np.int64) * examples // virtual_shards


def share(rank: int, world_size: int, virtual_shards: int) -> tuple[int, int]:
    """The virtual shards of a rank: the first, and the one after the last.

    Args:
        rank: from 0.
        world_size: ranks of the generation, at most `virtual_shards`.
        virtual_shards: of the run.
    """
    return virtual_shards * rank // world_size, virtual_shards * (rank + 1) // world_size


def largest_share(examples: int, world_size: int, virtual_shards: int) -> int:
    """The most rows that a rank can have in a step of at most `examples`.

    Counted in whole shards, so that sizes whose ranks have as many of them (4 and 5 workers of 12
    shards) have one answer.
    """
    shards = -(-virtual_shards // world_size)
    return -(-examples * shards // virtual_shards)
