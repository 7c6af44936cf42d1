"""Gradients of a part of a step, as sums over its examples divided by the whole step's.

Divided so, the parts of a step add up to the gradients of its mean, however it was cut.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tally.data.format import Meta
from tally.learning.tensorflow import randomness
from tally.learning.tensorflow.after import After
from tally.learning.tensorflow.randomness import Point
from tally.tasks import registry
from tally.tasks.targets import batched
from tally.tasks.task import Batch, Loss, Task

Tensor = Any


@dataclass(frozen=True)
class Problem:
    """What is trained, and what tracing it has shown.

    Attributes:
        model: the keras.Model.
        optimizer: its keras optimizer, built.
        loss: by example, of what the model gives: its own or the task's (ending.py).
        meta: of the dataset.
        seed: of the run.
        after: what is done to weights after each step, or None.
        present: by trainable variable, whether it has a gradient; empty until traced.
        weighted: whether the loss has weights of its own; empty until traced.
        not_by_row: names of random layers that draw otherwise than by row.
    """

    model: Any
    optimizer: Any
    loss: Loss
    meta: Meta
    seed: int
    after: After | None = None
    present: list[bool] = field(default_factory=list)
    weighted: list[bool] = field(default_factory=list)
    not_by_row: set[str] = field(default_factory=set)

    @property
    def task(self) -> Task:
        """What is learned."""
        return registry.named(self.meta.task)


def backward(
    problem: Problem, x: Tensor, y: Tensor, point: Point, step_examples: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """What the rows add up to, and this part's share of the gradients of the whole step.

    Args:
        problem: what is trained.
        x, y: the part of the step that is computed here, x as stored.
        point: which rows they are.
        step_examples: float32, of the whole step.

    Returns:
        Loss, its weight and the task's totals, float32 (2 + totals,); a gradient or None for each
        trainable variable, which `by_weight` is still to have.
    """
    import tensorflow as tf

    model, variables = problem.model, [v.value for v in problem.model.trainable_variables]
    with (
        tf.GradientTape() as tape,
        randomness.keyed(model, problem.seed, point) as not_by_row,
    ):
        batch = Batch(scaled(x, problem.meta), y)
        outputs = model(batch.x, training=True)
        by_example, weights = problem.loss(batch, outputs)
        if by_example.dtype in (tf.float16, tf.bfloat16):  # a sum of these would be too coarse
            by_example = tf.cast(by_example, tf.float32)
        loss = tf.reduce_sum(by_example)
        rows = tf.shape(x)[0]
        weight = tf.cast(rows, tf.float32) if weights is None else _sum(weights)
        if model.losses:  # what layers add, once a batch: each example's share of it
            added = tf.add_n([tf.cast(found, loss.dtype) for found in model.losses])
            loss += added * tf.cast(weight, loss.dtype)
        target = problem.optimizer.scale_loss(loss / tf.cast(step_examples, loss.dtype))
    # An embedding's gradient comes as one row a lookup. Summed here: rows of a token that
    # reach an optimiser apart are squared apart by Keras, and would be different in a gang.
    gradients = [
        g if g is None else tf.convert_to_tensor(g) for g in tape.gradient(target, variables)
    ]
    problem.present[:] = [g is not None for g in gradients]
    problem.not_by_row.update(not_by_row)
    problem.weighted[:] = [weights is not None]
    sums = [
        tf.cast(each, tf.float32)
        for each in (loss, weight, *problem.task.sums(batch, outputs, problem.meta.facts))
    ]
    return tf.stack(sums), gradients


def by_weight(problem: Problem, gradient: Tensor, examples: Tensor, weight: Tensor) -> Tensor:
    """A sum of shares of a gradient that was divided by examples, divided by the weights instead.

    Args:
        problem: that has been traced.
        gradient: over a whole step.
        examples, weight: of that step, float32 ().
    """
    import tensorflow as tf

    if not any(problem.weighted):  # they are the same
        return gradient
    return gradient * tf.cast(tf.math.divide_no_nan(examples, weight), gradient.dtype)


def sums_of(problem: Problem) -> int:
    """How many numbers rows add up to: loss, weight and the task's totals."""
    return 2 + len(problem.task.totals)


def examples_signature(meta: Meta) -> list[Any]:
    """Of x as stored and the target, any number of them."""
    import tensorflow as tf

    target = tf.nest.map_structure(
        lambda each: tf.TensorSpec((None, *each.shape), each.dtype),
        batched(registry.named(meta.task).target(meta.facts)),
    )
    return [tf.TensorSpec((None, *meta.input_shape), meta.input_dtype), target]


def nothing(problem: Problem, examples: int) -> Any:
    """Targets of zeros, of a row each where they are ragged, which its mask leaves out."""
    import tensorflow as tf

    return tf.nest.map_structure(
        lambda each: np.zeros(
            (examples, *(1 if size is None else size for size in each.shape)), each.dtype
        ),
        batched(problem.task.target(problem.meta.facts)),
    )


def cut(examples: Any, begin: Any, end: Any) -> Any:
    """Rows of x, of a target, or of both, however many arrays they are."""
    import tensorflow as tf

    return tf.nest.map_structure(lambda array: array[begin:end], examples)


def mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Of losses by example, each with its weight."""
    import tensorflow as tf

    if weights is None:
        return tf.reduce_mean(losses)
    return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(_sum(weights), losses.dtype))


def _sum(weights: Tensor) -> Tensor:
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(weights, tf.float32))


def size_dependent(problem: Problem) -> str:
    """One line about layers that make a default gang's result depend on its size, or ""."""
    named = sorted(problem.not_by_row) + by_statistics(problem)
    return depends(problem, named) if named else ""


def depends(problem: Problem, named: list[str]) -> str:
    """That line, of what is named."""
    return (
        f"{problem.model.name}: what {', '.join(named)} computes depends on which examples share "
        'a worker, so weights depend on the number of workers; SET="deterministic=true" ends that'
    )


def by_statistics(problem: Problem) -> list[str]:
    """Names of layers that go by the mean and the variance of the examples beside each."""
    import keras

    return [
        layer.name
        for layer in problem.model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]


def scaled(x: Tensor, meta: Meta) -> Tensor:
    """Stored values as the model takes them: float32 × input_scale, tokens as they are."""
    import tensorflow as tf

    if meta.kind == "tokens":
        return x
    x = tf.cast(x, tf.float32)
    return x if meta.input_scale == 1 else x * np.float32(meta.input_scale)
