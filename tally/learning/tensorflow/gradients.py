"""Gradients of a part of a step, as sums over its examples divided by the whole step's.

Divided so, the parts of a step add up to the gradients of its mean, however it was cut.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tally.data.format import Meta
from tally.learning.tensorflow import randomness
from tally.learning.tensorflow.randomness import Point

Tensor = Any


@dataclass(frozen=True)
class Problem:
    """What is trained, and what tracing it has shown.

    Attributes:
        model: the keras.Model.
        optimizer: its keras optimizer, built.
        losses: (labels (n,), outputs) → loss by example (n,).
        meta: of the dataset.
        seed: of the run.
        present: by trainable variable, whether it has a gradient; empty until traced.
        not_by_row: names of random layers that draw otherwise than by row.
    """

    model: Any
    optimizer: Any
    losses: Callable[[Tensor, Tensor], Tensor]
    meta: Meta
    seed: int
    present: list[bool] = field(default_factory=list)
    not_by_row: set[str] = field(default_factory=set)


def backward(
    problem: Problem, x: Tensor, y: Tensor, point: Point, step_examples: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Summed loss, right answers, and this part's share of the gradients of the whole step.

    Args:
        problem: what is trained.
        x, y: the part of the step that is computed here, x as stored.
        point: which rows they are.
        step_examples: float32, of the whole step.

    Returns:
        Loss float32 (), right answers int32 (), a gradient or None for each trainable variable.
    """
    import tensorflow as tf

    model, variables = problem.model, [v.value for v in problem.model.trainable_variables]
    with (
        tf.GradientTape() as tape,
        randomness.keyed(model, problem.seed, point) as not_by_row,
    ):
        outputs = model(scaled(x, problem.meta), training=True)
        by_example = problem.losses(y, outputs)
        if by_example.dtype in (tf.float16, tf.bfloat16):  # a sum of these would be too coarse
            by_example = tf.cast(by_example, tf.float32)
        loss = tf.reduce_sum(by_example)
        if model.losses:  # what layers add, once a batch: each example's share of it
            added = tf.add_n([tf.cast(found, loss.dtype) for found in model.losses])
            loss += added * tf.cast(tf.shape(y)[0], loss.dtype)
        target = problem.optimizer.scale_loss(loss / tf.cast(step_examples, loss.dtype))
    # An embedding's gradient comes as one row a lookup. Summed here: rows of a token that
    # reach an optimiser apart are squared apart by Keras, and would be different in a gang.
    gradients = [
        g if g is None else tf.convert_to_tensor(g) for g in tape.gradient(target, variables)
    ]
    problem.present[:] = [g is not None for g in gradients]
    problem.not_by_row.update(not_by_row)
    answers = tf.argmax(outputs, axis=-1, output_type=tf.int32)
    right = tf.reduce_sum(tf.cast(answers == y, tf.int32))
    return tf.cast(loss, tf.float32), right, gradients


def size_dependent(problem: Problem) -> str:
    """One line about layers that make a default gang's result depend on its size, or ""."""
    import keras

    named = sorted(problem.not_by_row)
    named += [
        layer.name
        for layer in problem.model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not named:
        return ""
    return (
        f"{problem.model.name}: what {', '.join(named)} computes depends on which examples share "
        'a worker, so weights depend on the number of workers; SET="deterministic=true" ends that'
    )


def scaled(x: Tensor, meta: Meta) -> Tensor:
    """Stored values as the model takes them: float32 × input_scale, tokens as they are."""
    import tensorflow as tf

    if meta.kind == "tokens":
        return x
    x = tf.cast(x, tf.float32)
    return x if meta.input_scale == 1 else x * np.float32(meta.input_scale)


def losses_by_example(loss: Any, classes: int) -> Callable[[Tensor, Tensor], Tensor]:
    """(labels (n,), probabilities (n, classes)) → loss by example (n,).

    Args:
        loss: what a compiled model has; None: cross-entropy.
        classes: of the dataset.
    """
    import keras
    import tensorflow as tf

    if loss is None:
        return keras.losses.sparse_categorical_crossentropy  # type: ignore[no-any-return]
    found = keras.losses.get(loss)
    by_example = found.call if isinstance(found, keras.losses.Loss) else found
    name = str(getattr(found, "name", None) or getattr(found, "__name__", ""))
    packaged = str(by_example.__module__).startswith("keras.")
    one_hot = packaged and "sparse" not in name  # a loss of the user's own gets plain labels

    def losses(y: Tensor, outputs: Tensor) -> Tensor:
        target = tf.one_hot(y, classes) if one_hot else y
        values = by_example(target, outputs)
        return tf.reduce_mean(tf.reshape(values, [tf.shape(y)[0], -1]), axis=1)

    return losses
