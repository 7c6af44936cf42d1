"""How far a training has come: after each call, at the end of an epoch, and to its end. Pure."""

import math
from dataclasses import dataclass, replace

from tally.data.format import Array
from tally.gang.messages import EpochEnd, WorkerConfig
from tally.learning import batches, order
from tally.learning.checkpoint import Position
from tally.learning.noise import GradientNoise


@dataclass(frozen=True)
class Done:
    """What one call of training did."""

    losses: Array
    correct: int
    examples: int
    own_examples: int
    paused: bool
    stopping: bool
    sync_seconds: float = 0.0
    wait_seconds: float = 0.0
    noise: GradientNoise | None = None


def steps_done(position: Position, examples: int, batch_size: int) -> int:
    """Optimiser steps that are in the weights at a position."""
    if position.batch_size:
        return position.steps
    return order.step_number(position.epoch, position.offset, examples, batch_size)


def finished(config: WorkerConfig, position: Position, examples: int) -> bool:
    """Whether all that was asked for is done; `examples` are those of the split."""
    if position.batch_size:
        return position.progress_examples >= config.epochs * examples * (1 - 1e-9)
    return position.epoch >= config.epochs


def steps_left(config: WorkerConfig, position: Position, examples: int) -> int:
    """Steps to the end, of the present batch; of a fixed batch more than an epoch has."""
    if not position.batch_size:
        return examples
    noise = position.noise.scale_examples
    worth = batches.efficiency(noise, config.batch_size, position.batch_size)
    left = config.epochs * examples - position.progress_examples
    return math.ceil(left / (worth * position.batch_size))


def advanced(position: Position, done: Done, seconds: float, base_batch: int) -> Position:
    """Where a training stands after a call.

    Args:
        position: before it.
        done: what the call did.
        seconds: it took.
        base_batch: the user's, in examples.
    """
    if position.batch_size:
        noise = position.noise.scale_examples
        worth = batches.efficiency(noise, base_batch, position.batch_size)
        position = replace(
            position,
            steps=position.steps + len(done.losses),
            progress_examples=position.progress_examples + done.examples * worth,
        )
    loss_sum = position.loss_sum
    for loss in done.losses.tolist():  # one by one, so that no grouping into calls changes the sum
        loss_sum += loss
    return replace(
        position,
        offset=position.offset + done.examples,
        loss_sum=loss_sum,
        correct=position.correct + done.correct,
        epoch_seconds=position.epoch_seconds + seconds,
        examples_trained=position.examples_trained + done.examples,
        noise=done.noise or position.noise,
    )


def ended(position: Position) -> Position:
    """The start of the next epoch, with this one in the history."""
    end = EpochEnd(
        position.epoch,
        position.loss_sum / position.offset,
        position.correct / position.offset,
        position.epoch_seconds,
    )
    return Position(
        epoch=position.epoch + 1,
        examples_trained=position.examples_trained,
        history=(*position.history, end),
        noise=position.noise,
        batch_size=position.batch_size,
        steps=position.steps,
        progress_examples=position.progress_examples,
    )
