"""One life of a training: from where it stands to the end, or until it is asked to stop."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tally import clock
from tally.data.format import Array, Split
from tally.errors import RunError
from tally.training import checkpoint, loop, order
from tally.training.checkpoint import Checkpoint, Position
from tally.training.messages import EpochEnd, Message, Progress, Saved, WorkerConfig

CALL_SECONDS = 0.15  # a call should last so long: a bar moves, a stop is heard, overhead is small
CALL_BYTES = 64 * 2**20  # of stored input
PROGRESS_SECONDS = 0.1

Tell = Callable[[Message], None]


def train(
    config: WorkerConfig,
    training: loop.Training,
    split: Split,
    position: Position,
    spec: dict[str, str | int],
    tell: Tell,
    stopping: Callable[[], bool],
) -> Position:
    """Train to the end of the last epoch, with a checkpoint every so often and at the end.

    Args:
        config: what to do.
        training: its variables stand at `position`; they are updated.
        split: the training split.
        position: where to begin.
        spec: what checkpoints are marked with.
        tell: receives Progress, EpochEnd and Saved.
        stopping: whether to stop: a checkpoint is made at once.

    Returns:
        Where it stands: position.epoch == config.epochs unless it was stopped.

    Raises:
        RunError: the loss is not finite, or the disk is full.
    """
    steps, examples = 1, len(split)
    saved, told, done_when_told = time.monotonic(), time.monotonic(), position.examples_trained
    while position.epoch < config.epochs:
        indices = order.epoch_order(config.seed, position.epoch, examples)
        while position.offset < examples:
            began = time.monotonic()
            here = indices[position.offset : position.offset + steps * config.batch_size]
            x, y = split.gather(here)
            losses, correct = loop.run(training, x, y)
            _require_finite(losses, position, config, training, examples)
            now = time.monotonic()
            position = _advanced(position, len(here), losses, correct, now - began)
            steps = next_steps(steps, now - began, x.nbytes)
            if now - told >= PROGRESS_SECONDS:
                rate = (position.examples_trained - done_when_told) / (now - told)
                tell(_progress(position, config.epochs * examples, rate))
                told, done_when_told = now, position.examples_trained
            if position.offset < examples and (
                stopping() or now - saved >= config.checkpoint_seconds
            ):
                save(config, training, position, spec, tell)
                saved = time.monotonic()
            if stopping() and position.offset < examples:
                return position
        position = _ended(position)
        tell(position.history[-1])
        now = time.monotonic()
        last = position.epoch == config.epochs
        if last or stopping() or now - saved >= config.checkpoint_seconds:
            save(config, training, position, spec, tell)
            saved = now
        if stopping():
            return position
    return position


def save(
    config: WorkerConfig,
    training: loop.Training,
    position: Position,
    spec: dict[str, str | int],
    tell: Tell,
) -> None:
    """Make a checkpoint and say so.

    Raises:
        RunError: the disk is full, or a weight is not finite: nothing to go on from.
    """
    at = clock.now_microseconds()
    tensors = {name: v.numpy() for name, v in loop.variables(training).items()}
    for name, value in tensors.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            where = f"in {name} (epoch {position.epoch + 1}, example {position.offset})"
            raise _diverged(f"weight, got nan or infinity {where}", config, training)
    checkpoint.save(Path(config.checkpoint_folder), Checkpoint(spec, position, at, tensors))
    tell(Saved(position.epoch, position.offset, at))


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
        done = order.step_number(position.epoch, position.offset, examples, config.batch_size)
        step = f"at step {done + len(losses)} (epoch {position.epoch + 1})"
        raise _diverged(f"loss, got {losses[-1]} {step}", config, training)


def _diverged(what: str, config: WorkerConfig, training: loop.Training) -> RunError:
    rate = float(training.optimizer.learning_rate)
    ours = rate == float(np.float32(config.learning_rate))
    where = f'SET="learning_rate={rate / 10:g}"' if ours else "in the optimizer of model()"
    return RunError(
        f"train: expected a finite {what} with learning rate {rate:g}; pass a smaller one, {where}"
    )


def _advanced(
    position: Position, examples: int, losses: Array, correct: Array, seconds: float
) -> Position:
    loss_sum = position.loss_sum
    for loss in losses.tolist():  # one by one, so that no grouping into calls changes the sum
        loss_sum += loss
    return replace(
        position,
        offset=position.offset + examples,
        loss_sum=loss_sum,
        correct=position.correct + int(correct.sum()),
        epoch_seconds=position.epoch_seconds + seconds,
        examples_trained=position.examples_trained + examples,
    )


def _progress(position: Position, total: int, rate: float) -> Progress:
    loss, accuracy = position.loss_sum / position.offset, position.correct / position.offset
    return Progress(position.examples_trained, total, position.epoch, loss, accuracy, rate)


def _ended(position: Position) -> Position:
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
    )
