"""Every shape traced and compiled before a worker is ready: no step of a gang waits for it."""

import numpy as np

from tally.learning.backend import Backend
from tally.learning.moment import Moment, largest_share, rows
from tally.learning.tensorflow import gradients
from tally.learning.tensorflow.gradients import Problem


def warm(training: Backend, problem: Problem) -> None:
    """Take real steps on zeros, and put back every variable as it was.

    Args:
        training: whose steps they are.
        problem: what it trains.
    """
    kept, met = training.variables(), set[int]()
    for batch_size in training.plan.batches or (training.plan.batch_size,):
        _warm_batch(training.sized(batch_size), problem, met)
    training.assign(kept, "warming up")


def _warm_batch(training: Backend, problem: Problem, met: set[int]) -> None:
    """Every shape of one global batch; `met` are those that were met before."""
    plan, meta = training.plan, problem.meta
    x = np.zeros((plan.batch_size, *meta.input_shape), meta.input_dtype)
    y = gradients.nothing(problem, plan.batch_size)
    if not plan.deterministic:
        training.run(x, y, 0, 0)
    halves = 2 if plan.batches and plan.virtual_shards > 1 else 1  # as a lone worker measures noise
    most = max(plan.max_workers, halves)
    for world_size in range(1, most + 1):
        moment = Moment(0, 0, plan.batch_size, world_size - 1, world_size)
        shards = plan.virtual_shards if plan.deterministic else world_size
        pad = largest_share(plan, shards)
        if (most > 1 or plan.deterministic) and pad not in met:
            met.add(pad)
            first, last = rows(plan, moment)
            x_here, y_here = gradients.cut((x, y), first, last)
            vector = training.share(x_here, y_here, moment, np.zeros(2, "f4"))
            training.apply(vector.sum(0) if plan.deterministic else vector)
