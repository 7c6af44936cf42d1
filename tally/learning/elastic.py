"""Training inside one generation: the steps between two changes of a gang's membership.

What leaves a step is one vector: this rank's share of the gradients, of the figures, and two flags.
Its sum is the same on every rank, so all of them see a flag after the same step and stop there
together: a planned change of membership costs no step.
"""

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tally.data.format import Array, Split
from tally.errors import RunError
from tally.gang.collective import Collective
from tally.gang.coordinator.events import Observation
from tally.gang.messages import Message, Progress, WorkerConfig
from tally.learning import order
from tally.learning.advance import Done, advanced, ended, finished, steps_done, steps_left
from tally.learning.noise import GradientNoise, averaged
from tally.learning.position import Position
from tally.learning.tensorflow import loop
from tally.tasks.targets import size_bytes
from tally.tasks.task import Task

CALL_SECONDS = 0.15  # a call should last so long: a bar moves, a stop is heard, overhead is small
CALL_BYTES = 64 * 2**20  # of stored examples
PROGRESS_SECONDS = 0.1
RECENT_STEPS = 50
ADAM_STEPS = 5  # before what Adam divides by means anything


class Outside(Protocol):
    """What a training hears from outside its steps, and tells."""

    def paused(self) -> bool:
        """Whether the coordinator wants this generation to end at the next step boundary."""

    def stopping(self) -> bool:
        """Whether the whole gang has to end: its conductor is gone."""

    def tell(self, message: Message) -> None:
        """A message to the conductor."""

    def observe(self, observation: Observation) -> None:
        """How fast it goes; only the last one counts."""

    def save(self, position: Position) -> None:
        """Make a checkpoint of the variables as they are now."""


@dataclass(frozen=True)
class Place:
    """Where in the gang this worker is."""

    generation: int = 1
    rank: int = 0
    world_size: int = 1


@dataclass
class Standing:
    """How far this worker's variables have come: kept when a step is abandoned.

    waited_seconds: spent in barriers beyond what the fastest of the recent sums took.
    steps, own_examples: that this worker took, and computed, in this life.
    """

    position: Position
    waited_seconds: float = 0.0
    steps: int = 0
    own_examples: int = 0


def train(
    config: WorkerConfig,
    training: loop.Training,
    split: Split,
    standing: Standing,
    place: Place,
    collective: Collective | None,
    outside: Outside,
) -> bool:
    """Train from where it stands to the end of the last epoch, a pause, or a stop.

    Args:
        config: what to do.
        training: its variables stand at `standing`.
        split: the training split.
        standing: moved on after each step that is in the variables.
        place: this worker's.
        collective: joined; None for a lone worker that need not be deterministic.
        outside: told of progress by rank 0, which also makes the checkpoints.

    Returns:
        Whether some rank is stopping.

    Raises:
        CollectiveError: a peer is lost; the step under way is in nobody's variables or in some's.
        RunError: the loss is not finite, or the disk is full.
    """
    examples, size = len(split), training.plan.batch_size
    together = _Together(config, training, place, collective, outside) if collective else None
    first = outside if place.rank == 0 else None
    task = training.problem.task
    pace = _Pace(first, task, config.epochs * examples)
    steps, saved, order_of, indices = 1, time.monotonic(), -1, np.empty(0, np.int64)
    unmeasured = loop.NOISE_STEPS  # of a lone worker, since the noise was measured
    while not finished(config, position := standing.position, examples):
        if position.epoch != order_of:
            order_of = position.epoch
            indices = order.epoch_order(config.seed, order_of, examples)
        began = time.monotonic()
        if position.batch_size:
            loop.use_rate(training, position.noise.scale_examples, config.batch_size)
        if together:
            done = together.take(position, split, indices)
        elif position.batch_size and unmeasured >= loop.NOISE_STEPS:
            done, unmeasured = _halves(training, position, split, indices, outside), 0
        else:
            call = min(steps, steps_left(config, position, examples)) or 1
            done, nbytes = _alone(training, position, split, indices, call, outside)
            steps = next_steps(call, time.monotonic() - began, nbytes)
            unmeasured += done.steps
        _require_finite(done.sums[:, 0], position, config, training, examples)
        now = time.monotonic()
        standing.position = advanced(position, done, task, now - began, config.batch_size)
        standing.waited_seconds += done.wait_seconds
        standing.steps += done.steps
        standing.own_examples += done.own_examples
        pace.step(standing.position)
        number = steps_done(standing.position, examples, size)
        outside.observe(_observation(place, standing, number, done, now - began))
        last = finished(config, standing.position, examples)
        if standing.position.offset >= examples or (last and standing.position.offset):
            standing.position = ended(standing.position, task)
            if first:
                first.tell(standing.position.history[-1])
        last = last or finished(config, standing.position, examples)
        due = now - saved >= config.checkpoint_seconds
        if first and (last or due or done.stopping):
            first.save(standing.position)
            saved = time.monotonic()
        if done.paused or done.stopping:
            return done.stopping
    return False


def _alone(
    training: loop.Training,
    position: Position,
    split: Split,
    indices: Array,
    steps: int,
    outside: Outside,
) -> tuple[Done, int]:
    """Several steps in one call, and the bytes of their examples."""
    here = indices[position.offset : position.offset + steps * training.plan.batch_size]
    x, y = split.gather(here)
    sums = loop.run(training, x, y, position.epoch, position.offset)
    flags = outside.paused(), outside.stopping()
    return Done(sums, len(here), len(here), *flags), x.nbytes + size_bytes(y)


def _halves(
    training: loop.Training, position: Position, split: Split, indices: Array, outside: Outside
) -> Done:
    """A lone worker's step in two parts, as two ranks would take it: they tell its noise."""
    examples = min(training.plan.batch_size, len(indices) - position.offset)
    ranks = 2 if training.plan.virtual_shards > 1 else 1
    vector: Any = 0
    for rank in range(ranks):
        moment = loop.Moment(position.epoch, position.offset, examples, rank, ranks)
        begin, end = loop.rows(training.plan, moment)
        x, y = split.gather(indices[position.offset + begin : position.offset + end])
        vector = vector + loop.compute(training, x, y, moment, np.zeros(2, "f4"), measured=True)
    sums = loop.totals(training, vector)
    noise = position.noise
    if np.isfinite(sums.loss_sum):
        noise = _measured(training, position, len(indices), sums, loop.apply(training, vector))
    flags = outside.paused(), outside.stopping()
    return Done(sums.row, examples, examples, *flags, noise=noise)


def _measured(
    training: loop.Training, position: Position, examples: int, sums: loop.Total, squares: float
) -> GradientNoise:
    """The noise after a step, if it was measured in it."""
    done = steps_done(position, examples, training.plan.batch_size)
    if not sums.parts or done < ADAM_STEPS:
        return position.noise
    small = sums.part_squares, sums.part_examples
    return averaged(position.noise, *small, squares, sums.examples)


class _Together:
    """One step of all ranks at a time."""

    def __init__(
        self,
        config: WorkerConfig,
        training: loop.Training,
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
        moment = loop.Moment(
            position.epoch, position.offset, examples, self._place.rank, self._place.world_size
        )
        first, last = loop.rows(training.plan, moment)
        x, y = split.gather(indices[position.offset + first : position.offset + last])
        flags = np.array([outside.paused(), outside.stopping()], np.float32)
        part = loop.compute(training, x, y, moment, flags)
        began = time.monotonic()
        if self._config.deterministic:
            total = self._collective.fold(part)
        else:
            total = self._collective.all_reduce(part)
        sync_seconds = time.monotonic() - began
        sums = loop.totals(training, total)
        if sums.examples != examples:
            raise RunError(
                f"train: expected the gang to count {examples} examples in a step, got "
                f"{sums.examples}; this is a defect of Tally, please report it"
            )
        noise = position.noise
        if np.isfinite(sums.loss_sum):
            squares = loop.apply(training, total)
            noise = _measured(training, position, len(indices), sums, squares)
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


class _Pace:
    """Examples a second, told every so often."""

    def __init__(self, outside: Outside | None, task: Task, total: int) -> None:
        self._outside, self._task, self._total = outside, task, total
        self._told = time.monotonic()
        self._done: int | None = None

    def step(self, position: Position) -> None:
        """A step is done."""
        now = time.monotonic()
        if self._done is None:
            self._told, self._done = now, position.examples_trained
        elif self._outside and now - self._told >= PROGRESS_SECONDS:
            rate = (position.examples_trained - self._done) / (now - self._told)
            self._outside.tell(_progress(position, self._task, self._total, rate))
            self._told, self._done = now, position.examples_trained


def next_steps(steps: int, seconds: float, call_bytes: int) -> int:
    """How many steps the next call should hold, from what the last one took.

    Grows at most fourfold, since the first calls are slow for reasons of their own.
    """
    by_time = steps * CALL_SECONDS / max(seconds, 1e-6)
    by_memory = steps * CALL_BYTES / max(call_bytes, 1)
    return max(1, int(min(by_time, by_memory, steps * 4)))


def _require_finite(
    losses: Array,
    position: Position,
    config: WorkerConfig,
    training: loop.Training,
    examples: int,
) -> None:
    if not np.isfinite(losses[-1]):
        done = steps_done(position, examples, training.plan.batch_size)
        step = f"at step {done + len(losses)} (epoch {position.epoch + 1})"
        raise diverged(f"loss, got {losses[-1]} {step}", config, training)


def diverged(what: str, config: WorkerConfig, training: loop.Training) -> RunError:
    """The one line for a training that left the finite numbers; `what` says where."""
    rate = loop.rate_of(training.optimizer)
    ours = rate == float(np.float32(config.learning_rate))
    where = f'SET="learning_rate={rate / 10:g}"' if ours else "in the optimizer of model()"
    return RunError(
        f"train: expected a finite {what} with learning rate {rate:g}; pass a smaller one, {where}"
    )


def _observation(
    place: Place, standing: Standing, step: int, done: Done, seconds: float
) -> Observation:
    position = standing.position
    return Observation(
        generation=place.generation,
        step=step,
        examples_per_second=done.examples / max(seconds, 1e-9),
        step_seconds=seconds / done.steps,
        sync_seconds=done.sync_seconds,
        wait_seconds=standing.waited_seconds,
        loss=position.loss,
        gradient_noise_scale=position.noise.scale_examples,
    )


def _progress(position: Position, task: Task, total: int, rate: float) -> Progress:
    figures = task.figures(position.totals, position.offset)
    trained = position.examples_trained
    done = round(position.progress_examples) if position.batch_size else trained
    return Progress(done, total, position.epoch, position.loss, figures, rate, trained)
