"""How a training takes its steps: alone, several in a call, or with all ranks, one at a time.

With others, what leaves a step is one vector: this rank's share of the gradients, of the figures,
and two flags. Its sum is the same on every rank, so all of them see a flag after the same step.
"""

import time
from collections import deque
from typing import Any

import numpy as np

from tally.data.format import Array, Split
from tally.errors import RunError
from tally.gang.collective import Collective
from tally.gang.messages import WorkerConfig
from tally.learning.advance import Done, steps_left
from tally.learning.backend import Backend
from tally.learning.moment import NOISE_STEPS, Moment, Total, rows
from tally.learning.noise import GradientNoise, averaged
from tally.learning.position import Position
from tally.learning.standing import Outside, Place
from tally.tasks.targets import size_bytes

CALL_SECONDS = 0.15  # a call should last so long: a bar moves, a stop is heard, overhead is small
CALL_BYTES = 64 * 2**20  # of stored examples
RECENT_STEPS = 50
ADAM_STEPS = 5  # before what Adam divides by means anything


class Alone:
    """A lone worker's steps, as many in a call as take a while; of late one tells their noise."""

    def __init__(self, config: WorkerConfig, training: Backend, outside: Outside) -> None:
        self._config, self._training, self._outside = config, training, outside
        self._steps = 1
        self._unmeasured = NOISE_STEPS  # since the noise was measured

    def take(self, position: Position, split: Split, indices: Array) -> Done:
        """Compute some steps and apply them."""
        if self._config.largest_batch and self._unmeasured >= NOISE_STEPS:
            self._unmeasured = 0
            return self._halves(position, split, indices)
        began = time.monotonic()
        call = min(self._steps, steps_left(self._config, position, len(indices))) or 1
        done, nbytes = self._several(position, split, indices, call)
        self._steps = next_steps(call, time.monotonic() - began, nbytes)
        self._unmeasured += done.steps
        return done

    def _several(
        self, position: Position, split: Split, indices: Array, steps: int
    ) -> tuple[Done, int]:
        """Several steps in one call, and the bytes of their examples."""
        training, outside = self._training, self._outside
        here = indices[position.offset : position.offset + steps * training.plan.batch_size]
        x, y = split.gather(here)
        sums = training.run(x, y, position.epoch, position.offset, position.steps)
        flags = outside.paused(), outside.stopping()
        return Done(sums, len(here), len(here), *flags), x.nbytes + size_bytes(y)

    def _halves(self, position: Position, split: Split, indices: Array) -> Done:
        """A step in two parts, as two ranks would take it: they tell its noise."""
        training, outside = self._training, self._outside
        examples = min(training.plan.batch_size, len(indices) - position.offset)
        ranks = 2 if training.plan.virtual_shards > 1 else 1
        vector: Any = 0
        for rank in range(ranks):
            moment = Moment(position.epoch, position.offset, examples, rank, ranks)
            begin, end = rows(training.plan, moment)
            x, y = split.gather(indices[position.offset + begin : position.offset + end])
            vector = vector + training.share(x, y, moment, np.zeros(2, "f4"), measured=True)
        sums = training.totals(vector)
        noise = position.noise
        if np.isfinite(sums.loss_sum):
            noise = _measured(position, sums, training.apply(vector, position.steps))
        flags = outside.paused(), outside.stopping()
        return Done(sums.row, examples, examples, *flags, noise=noise)


class Together:
    """One step of all ranks at a time."""

    def __init__(
        self,
        config: WorkerConfig,
        training: Backend,
        place: Place,
        collective: Collective,
        outside: Outside,
    ) -> None:
        self._config, self._training, self._place = config, training, place
        self._collective, self._outside = collective, outside
        self._syncs: deque[float] = deque(maxlen=RECENT_STEPS)

    def take(self, position: Position, split: Split, indices: Array) -> Done:
        """Compute this rank's share, sum over all ranks, apply."""
        training, outside = self._training, self._outside
        examples = min(training.plan.batch_size, len(indices) - position.offset)
        moment = Moment(
            position.epoch, position.offset, examples, self._place.rank, self._place.world_size
        )
        first, last = rows(training.plan, moment)
        x, y = split.gather(indices[position.offset + first : position.offset + last])
        flags = np.array([outside.paused(), outside.stopping()], np.float32)
        part = training.share(x, y, moment, flags)
        began = time.monotonic()
        if self._config.deterministic:
            total = self._collective.fold(part)
        else:
            total = self._collective.all_reduce(part)
        sync_seconds = time.monotonic() - began
        sums = training.totals(total)
        if sums.examples != examples:
            raise RunError(
                f"train: expected the gang to count {examples} examples in a step, got "
                f"{sums.examples}; this is a defect of Tally, please report it"
            )
        noise = position.noise
        if np.isfinite(sums.loss_sum):
            noise = _measured(position, sums, training.apply(total, position.steps))
        self._syncs.append(sync_seconds)
        return Done(
            sums.row,
            examples,
            last - first,
            sums.flags[0] > 0,
            sums.flags[1] > 0,
            sync_seconds,
            max(0.0, sync_seconds - min(self._syncs)),
            noise,
        )


def _measured(position: Position, sums: Total, squares: float) -> GradientNoise:
    """The noise after a step, if it was measured in it."""
    if not sums.parts or position.steps < ADAM_STEPS:
        return position.noise
    small = sums.part_squares, sums.part_examples
    return averaged(position.noise, *small, squares, sums.examples)


def next_steps(steps: int, seconds: float, call_bytes: int) -> int:
    """How many steps the next call should hold, from what the last one took.

    Grows at most fourfold, since the first calls are slow for reasons of their own.
    """
    by_time = steps * CALL_SECONDS / max(seconds, 1e-6)
    by_memory = steps * CALL_BYTES / max(call_bytes, 1)
    return max(1, int(min(by_time, by_memory, steps * 4)))
