"""How far a training has come: after each call, at the end of an epoch, and to its end. Pure."""

import math
from dataclasses import dataclass, replace

from tally.data.content import Array
from tally.gang.messages import EpochEnd, WorkerConfig
from tally.learning import batches, order
from tally.learning.noise import GradientNoise
from tally.learning.position import Position
from tally.tasks.task import Task


@dataclass(frozen=True)
class Done:
    """What one call of training did.

    `sums` is (steps, 2 + totals): each step's loss, its weight, the task's totals.
    """

    sums: Array
    examples: int
    own_examples: int
    paused: bool
    stopping: bool
    sync_seconds: float = 0.0
    wait_seconds: float = 0.0
    noise: GradientNoise | None = None

    @property
    def steps(self) -> int:
        """That were taken."""
        return len(self.sums)


def begun(position: Position, examples: int, batch_size: int) -> Position:
    """A position to train from: a new one, or one of an older Tally, counts nothing by itself.

    Args:
        position: of a checkpoint, or new.
        examples: of the training split.
        batch_size: the user's, in examples: the batch of all steps that nobody counted.
    """
    if position.batch_size:
        return position
    steps = order.step_number(position.epoch, position.offset, examples, batch_size)
    done = float(position.examples_trained)
    return replace(position, batch_size=batch_size, steps=steps, progress_examples=done)


def finished(config: WorkerConfig, position: Position, examples: int) -> bool:
    """Whether all that was asked for is done; `examples` are those of the split."""
    if config.largest_batch:
        return position.progress_examples >= config.epochs * examples * (1 - 1e-9)
    return position.epoch >= config.epochs


def steps_left(config: WorkerConfig, position: Position, examples: int) -> int:
    """Steps to the end, of the present batch; of a fixed batch more than an epoch has."""
    if not config.largest_batch:
        return examples
    noise = position.noise.scale_examples
    worth = batches.efficiency(noise, config.batch_size, position.batch_size)
    left = config.epochs * examples - position.progress_examples
    return math.ceil(left / (worth * position.batch_size))


def advanced(
    position: Position, done: Done, task: Task, seconds: float, base_batch: int
) -> Position:
    """Where a training stands after a call.

    Args:
        position: before it.
        done: what the call did.
        task: what is learned.
        seconds: it took.
        base_batch: the user's, in examples.
    """
    worth = batches.efficiency(position.noise.scale_examples, base_batch, position.batch_size)
    before = (
        position.loss_sum,
        position.loss_weight,
        *(position.totals.get(n, 0.0) for n in task.totals),
    )
    sums = list(before)
    for step in done.sums.tolist():  # one by one, so that no grouping into calls changes a sum
        sums = [so_far + more for so_far, more in zip(sums, step, strict=True)]
    loss_sum, loss_weight, *totals = sums
    return replace(
        position,
        offset=position.offset + done.examples,
        loss_sum=loss_sum,
        loss_weight=loss_weight,
        totals=dict(zip(task.totals, totals, strict=True)),
        epoch_seconds=position.epoch_seconds + seconds,
        examples_trained=position.examples_trained + done.examples,
        noise=done.noise or position.noise,
        steps=position.steps + done.steps,
        progress_examples=position.progress_examples + done.examples * worth,
    )


def ended(position: Position, task: Task) -> Position:
    """The start of the next epoch, with this one in the history."""
    figures = task.figures(position.totals, position.offset)
    end = EpochEnd(position.epoch, position.loss, position.epoch_seconds, figures)
    return Position(
        epoch=position.epoch + 1,
        examples_trained=position.examples_trained,
        history=(*position.history, end),
        noise=position.noise,
        batch_size=position.batch_size,
        steps=position.steps,
        progress_examples=position.progress_examples,
    )
