"""Training goes on while weights are pruned, and after units were taken out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tally.compression import masks
from tally.compression.recipe import Recipe
from tally.data.format import Array, Meta, Split
from tally.learning.order import epoch_order
from tally.learning.tensorflow import ending
from tally.learning.tensorflow.gradients import examples_signature, mean, scaled
from tally.tasks.task import Batch

PRUNED = 0.75  # of the steps; the rest lets what stayed settle
WHOLE = 0.02  # of all weights: a kernel below stays whole
UPDATES = 40  # times that masks are made anew on the way
# Keras's names of what multiplies inputs: biases, gains and states are few and stay
_KERNELS = ("kernel", "recurrent_kernel", "embeddings")


@dataclass(frozen=True)
class Tuning:
    """How training goes on.

    Attributes:
        epochs: over the training split.
        batch_size: examples of a step.
        learning_rate: of Adam, at its start; it falls to a tenth, linearly.
        seed: of the order of the examples.
    """

    epochs: float = 2.0
    batch_size: int = 128
    learning_rate: float = 5e-4
    seed: int = 0


def kernels(model: Any) -> list[Any]:
    """The variables that are pruned: those that hold little but decide much stay whole."""
    found = [v for v in model.trainable_variables if v.name in _KERNELS and len(v.shape) >= 2]
    sizes = [int(np.prod(v.shape)) for v in found]
    return [v for v, size in zip(found, sizes, strict=True) if size >= WHOLE * sum(sizes)]


def prune(
    model: Any,
    recipe: Recipe,
    split: Split,
    meta: Meta,
    tuning: Tuning,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Train the model on and set weights to zero on the way, by the cubic schedule.

    Args:
        model: changed in place.
        recipe: pruned or two_of_four; with no pruning or structured the model is only trained on.
        split, meta: training examples.
        tuning: how.
        told: gets (steps done, of how many), now and then.
    """
    import tensorflow as tf

    pruned = kernels(model) if recipe.pruning in ("pruned", "two_of_four") else []
    kept = [tf.Variable(tf.ones(v.shape)) for v in pruned]
    examples = len(split)
    total = max(1, round(tuning.epochs * examples / tuning.batch_size))
    step = _traced(model, meta, tuning, total, pruned, kept)
    every = max(1, round(PRUNED * total / UPDATES))
    for done, rows in enumerate(_batches(examples, tuning, total)):
        fraction = done / (PRUNED * total)
        if pruned and ((done % every == 0 and fraction <= 1) or done == total - 1):
            _mask(pruned, kept, recipe, fraction)
        step(*split.gather(rows))
        if done % 50 == 0 or done == total - 1:
            told(done + 1, total)
    _mask(pruned, kept, recipe, 1.0)


def _mask(pruned: list[Any], kept: list[Any], recipe: Recipe, fraction: float) -> None:
    """Choose anew what stays and set the rest to zero."""
    for variable, mask in zip(pruned, kept, strict=True):
        weights = variable.numpy()
        mask.assign(_kept(weights, recipe, fraction).astype(np.float32))
        variable.assign(weights * mask.numpy())


def _kept(weights: Array, recipe: Recipe, fraction: float) -> Array:
    sparsity = masks.sparsity_at(fraction, recipe.percent / 100)
    if recipe.pruning == "pruned":
        return masks.magnitude(weights, sparsity)
    pattern = masks.two_of_four(weights)  # the schedule says how many of its zeros are zero by now
    gone = np.where(pattern, np.inf, np.abs(weights))
    count = round(min(sparsity, 1.0) / 0.5 * (~pattern).sum())
    kept = np.ones(weights.size, bool)
    kept[np.argsort(gone, axis=None, kind="stable")[:count]] = False
    return kept.reshape(weights.shape)


def _traced(
    model: Any, meta: Meta, tuning: Tuning, total: int, pruned: list[Any], kept: list[Any]
) -> Callable[[Array, Array], None]:
    """One step of Adam after which what is pruned is zero again."""
    import keras
    import tensorflow as tf

    rate = keras.optimizers.schedules.PolynomialDecay(
        tuning.learning_rate, total, tuning.learning_rate / 10
    )
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(model.trainable_variables)
    by_example = ending.loss(model, meta)
    signature = examples_signature(meta)

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            batch = Batch(scaled(x, meta), y)
            losses, weights = by_example(batch, model(batch.x, training=True))
            loss = mean(losses, weights)
            loss += tf.add_n(model.losses) if model.losses else 0.0
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply_gradients(
            (g, v) for g, v in zip(gradients, variables, strict=True) if g is not None
        )
        for variable, mask in zip(pruned, kept, strict=True):
            variable.assign(variable.value * mask)

    return step  # type: ignore[no-any-return]


def _batches(examples: int, tuning: Tuning, total: int) -> Iterator[Array]:
    """The rows of each step."""
    size = min(tuning.batch_size, examples)
    epoch, order = 0, epoch_order(tuning.seed, 0, examples)
    offset = 0
    for _ in range(total):
        if offset + size > examples:
            epoch, offset = epoch + 1, 0
            order = epoch_order(tuning.seed, epoch, examples)
        yield order[offset : offset + size]
        offset += size
