"""Training inside one generation: the steps between two changes of a gang's membership.

All ranks see a flag after the same step (stepping.py) and stop there together: a planned change of
membership costs no step.
"""

import time

import numpy as np

from tally.data.format import Array, Split
from tally.errors import RunError
from tally.gang.collective import Collective
from tally.gang.coordinator.events import Observation
from tally.gang.messages import Progress, WorkerConfig
from tally.learning import order
from tally.learning.advance import Done, advanced, ended, finished
from tally.learning.backend import Backend
from tally.learning.position import Position
from tally.learning.standing import Outside, Place, Standing
from tally.learning.stepping import Alone, Together
from tally.tasks.task import Task

PROGRESS_SECONDS = 0.1


def train(
    config: WorkerConfig,
    training: Backend,
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
    course = _Course(config, training, split, standing, place, collective, outside)
    while not finished(config, standing.position, len(split)):
        done = course.go_on()
        if done.paused or done.stopping:
            return done.stopping
    return False


class _Course:
    """One generation's calls, one after another; see `train`."""

    def __init__(
        self,
        config: WorkerConfig,
        training: Backend,
        split: Split,
        standing: Standing,
        place: Place,
        collective: Collective | None,
        outside: Outside,
    ) -> None:
        self._config, self._training, self._split = config, training, split
        self._standing, self._place, self._outside = standing, place, outside
        self._examples = len(split)
        self._task = training.task
        self._steps = (
            Together(config, training, place, collective, outside)
            if collective
            else Alone(config, training, outside)
        )
        self._first = outside if place.rank == 0 else None
        self._pace = _Pace(self._first, self._task, config.epochs * self._examples)
        self._saved = time.monotonic()
        self._order_of, self._indices = -1, np.empty(0, np.int64)

    def go_on(self) -> Done:
        """Take the steps of one call, and tell and keep what is due after them."""
        config, training, standing = self._config, self._training, self._standing
        position = standing.position
        if position.epoch != self._order_of:
            self._order_of = position.epoch
            self._indices = order.epoch_order(config.seed, position.epoch, self._examples)
        began = time.monotonic()
        if config.largest_batch:
            training.use_rate(position.noise.scale_examples, config.batch_size)
        done = self._steps.take(position, self._split, self._indices)
        _require_finite(done.sums[:, 0], position, config, training)
        now = time.monotonic()
        standing.moved(advanced(position, done, self._task, now - began, config.batch_size), done)
        self._pace.step(standing.position)
        self._outside.observe(_observation(self._place, standing, done, now - began))
        last = self._end_epoch()
        due = now - self._saved >= config.checkpoint_seconds
        if self._first and (last or due or done.stopping):
            self._first.save(standing.position)
            self._saved = time.monotonic()
        return done

    def _end_epoch(self) -> bool:
        """End the epoch if it is through, and tell of it; whether it was the last."""
        config, standing, examples = self._config, self._standing, self._examples
        last = finished(config, standing.position, examples)
        if standing.position.offset >= examples or (last and standing.position.offset):
            standing.position = ended(standing.position, self._task)
            if self._first:
                self._first.tell(standing.position.history[-1])
        return last or finished(config, standing.position, examples)


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


def _require_finite(
    losses: Array,
    position: Position,
    config: WorkerConfig,
    training: Backend,
) -> None:
    if not np.isfinite(losses[-1]):
        step = f"at step {position.steps + len(losses)} (epoch {position.epoch + 1})"
        raise diverged(f"loss, got {losses[-1]} {step}", config, training)


def diverged(what: str, config: WorkerConfig, training: Backend) -> RunError:
    """The one line for a training that left the finite numbers; `what` says where."""
    rate = training.rate
    ours = rate == float(np.float32(config.learning_rate))
    where = f'SET="learning_rate={rate / 10:g}"' if ours else "in the optimizer of model()"
    return RunError(
        f"train: expected a finite {what} with learning rate {rate:g}; pass a smaller one, {where}"
    )


def _observation(place: Place, standing: Standing, done: Done, seconds: float) -> Observation:
    position = standing.position
    return Observation(
        generation=place.generation,
        step=position.steps,
        examples_per_second=done.examples / max(seconds, 1e-9),
        step_seconds=seconds / done.steps,
        sync_seconds=done.sync_seconds,
        wait_seconds=standing.waited_seconds,
        loss=position.loss,
        gradient_noise_scale=position.noise.scale_examples,
    )


def _progress(position: Position, task: Task, total: int, rate: float) -> Progress:
    figures = task.figures(position.totals, position.offset)
    done, trained = round(position.progress_examples), position.examples_trained
    return Progress(done, total, position.epoch, position.loss, figures, rate, trained)
