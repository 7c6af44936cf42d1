"""What a step is and whose part of it is computed: the words of the loop, without TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tally.data.format import Array
from tally.learning import order

NOISE_STEPS = 10  # of which one measures the gradients' noise: a quarter of a step's time


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """What decides a step beside model and data.

    Attributes:
        batch_size: examples of one optimiser step over all ranks; the last of an epoch may have
            fewer.
        learning_rate: of Adam, where the model brings no optimizer.
        seed: of the run; random layers follow from it.
        virtual_shards: into which a step is cut, whatever the number of workers.
        deterministic: compute each virtual shard by itself, for weights that are the same bit by
            bit with any number of workers.
        max_workers: the largest gang that this worker may meet.
        batches: global batches that may come, batch_size among them; none where it is fixed.
    """

    batch_size: int
    learning_rate: float
    seed: int
    virtual_shards: int = 12
    deterministic: bool = False
    max_workers: int = 1
    batches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Moment:
    """One rank's place in one step.

    Attributes:
        epoch: from 0.
        offset: examples of the epoch in the steps before.
        examples: of the whole step, over all ranks.
        rank, world_size: of this generation.
    """

    epoch: int
    offset: int
    examples: int
    rank: int
    world_size: int


@dataclass(frozen=True)
class Total:
    """What the end of a step's sum says.

    Attributes:
        loss_sum: over its examples.
        weight: that it is divided by.
        totals: of the task, by name.
        examples: counted by who computed them.
        parts: of the step whose gradients were measured, in one step of NOISE_STEPS.
        part_squares: the mean squared norm of their mean gradients, as the optimizer sees them.
        part_examples: the harmonic mean of theirs.
        flags: added up over ranks.
    """

    loss_sum: float
    weight: float
    totals: Mapping[str, float]
    examples: int
    parts: int
    part_squares: float
    part_examples: float
    flags: tuple[float, float]

    @property
    def row(self) -> Array:
        """Loss, weight and totals, float32 (1, 2 + totals)."""
        return np.array([[self.loss_sum, self.weight, *self.totals.values()]], np.float32)


def rows(plan: StepPlan, moment: Moment) -> tuple[int, int]:
    """The rows of the step that a rank computes: the first, and the one after the last."""
    bounds = order.shard_bounds(moment.examples, plan.virtual_shards)
    begin, end = order.share(moment.rank, moment.world_size, plan.virtual_shards)
    return int(bounds[begin]), int(bounds[end])


def largest_share(plan: StepPlan, world_size: int) -> int:
    """The most rows that a rank ever has: what its functions are compiled for."""
    return order.largest_share(plan.batch_size, world_size, plan.virtual_shards)
