"""A part of a step as one vector of float32, and the sum of all parts put into the variables.

The vector is [gradients | changes of what layers keep beside weights | loss, its weight, the
task's totals | examples | what the gradients' noise is known by | two flags]. Everything in it adds
up over the parts of a step; nothing is changed by computing it, so that a step whose sum never came
can be computed again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tally.data.format import Array
from tally.learning.tensorflow import after, lstm_kernel, optimiser
from tally.learning.tensorflow.gradients import (
    Problem,
    backward,
    by_weight,
    cut,
    examples_signature,
    sums_of,
)
from tally.learning.tensorflow.randomness import Point

Tensor = Any
END = 6  # examples; squared norm, 1 / examples, 1; two flags


@dataclass(frozen=True)
class Layout:
    """What a vector's numbers are, in order.

    Attributes:
        trained: the trainable variables that have a gradient.
        kept: what layers change while they are trained: moving averages, counters.
        tail: numbers after those.
    """

    trained: tuple[Any, ...]
    kept: tuple[Any, ...]
    tail: int

    @property
    def size(self) -> int:
        """Numbers in the vector."""
        return sum(_sizes([*self.trained, *self.kept])) + self.tail


def kept_variables(model: Any) -> tuple[Any, ...]:
    """The numbers that layers may change in a forward pass; weights that are frozen are not.

    Random states are not either: they follow from the run's seed.
    """
    found = {
        id(variable): variable
        for layer in model._flatten_layers()
        for variable in layer._non_trainable_variables
        if str(variable.dtype).startswith(("float", "bfloat", "int", "uint"))
    }
    return tuple(found.values())


def layout(problem: Problem) -> Layout:
    """The layout of a problem that has been traced."""
    variables = zip(problem.model.trainable_variables, problem.present, strict=True)
    trained = tuple(v for v, found in variables if found)
    return Layout(trained, kept_variables(problem.model), sums_of(problem) + END)


def part(
    problem: Problem, x: Tensor, y: Tensor, point: Point, step: Tensor, flags: Tensor
) -> Tensor:
    """The vector of some rows of a step, float32 (size,), while tracing.

    Args:
        problem: what is trained.
        x, y: the rows, one or more, x as stored.
        point: which rows they are.
        step: int64 (2,): examples of the whole step, and 1 if its noise is measured.
        flags: float32 (2,).
    """
    import tensorflow as tf

    kept = kept_variables(problem.model)
    before = [tf.identity(v.value) for v in kept]
    whole, here = tf.cast(step[0], tf.float32), tf.cast(point.rows, tf.float32)
    sums, gradients = backward(problem, x, y, point, whole)
    changes = [
        (tf.cast(v.value, tf.float32) - tf.cast(old, tf.float32)) * (here / whole)
        for v, old in zip(kept, before, strict=True)
    ]
    with tf.control_dependencies(changes):
        for v, old in zip(kept, before, strict=True):
            v.assign(old)
    flat = [_flat(g) for g in gradients if g is not None]

    def noise() -> Tensor:
        squares = _squared_norm(problem, tf.concat(flat, axis=0))
        return tf.stack([squares * tf.square(whole / here), 1 / here, 1.0])  # of this part's mean

    known = tf.cond(step[1] > 0, noise, lambda: tf.zeros(3))
    return tf.concat([*flat, *(_flat(c) for c in changes), sums, [here], known, flags], axis=0)


def trace_part(problem: Problem, padded_rows: int) -> Callable[..., Tensor]:
    """(x, y, where, flags) → the vector of the rows.

    `where` is int64 (4,): epoch, first row, the step's examples, 1 if its noise is measured.

    Args:
        problem: what is trained.
        padded_rows: as many as it will ever be called with.
    """
    import tensorflow as tf

    def compute(x: Tensor, y: Tensor, where: Tensor, flags: Tensor) -> Tensor:
        point = Point(where[0], where[1], tf.shape(x, out_type=tf.int64)[0])
        return part(problem, x, y, point, where[2:], flags)

    with lstm_kernel.fused(problem.model, padded_rows):
        return concrete(compute, step_signature(problem))


def trace_shards(problem: Problem, padded_rows: int) -> Callable[..., Tensor]:
    """(x, y, bounds int64 (s + 1,), where, flags) → vectors of s shards, float32 (s, size).

    The flags are in the first. One shard is computed after another, each by the same operations on
    the same shapes: bit by bit the same, whatever shards come before it.

    Args:
        problem: what is trained.
        padded_rows: of the largest shard.
    """
    import tensorflow as tf

    def compute(x: Tensor, y: Tensor, bounds: Tensor, where: Tensor, flags: Tensor) -> Tensor:
        shards = tf.shape(bounds)[0] - 1

        def body(i: Tensor, rows: Any) -> Any:
            begin, end = bounds[i], bounds[i + 1]
            point = Point(where[0], where[1] + begin, end - begin)
            raised = tf.where(i == 0, flags, 0)
            x_here, y_here = cut((x, y), begin, end)
            vector = part(problem, x_here, y_here, point, where[2:], raised)
            return i + 1, rows.write(i, vector)

        rows = tf.TensorArray(tf.float32, shards, infer_shape=False)
        start = (tf.constant(0), rows)
        _, rows = tf.while_loop(lambda i, _: i < shards, body, start, parallel_iterations=1)
        return rows.stack()

    signature = [
        *examples_signature(problem.meta),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((4,), tf.int64),
        tf.TensorSpec((2,), tf.float32),
    ]
    with lstm_kernel.fused(problem.model, padded_rows):
        return concrete(compute, signature)


def trace_apply(problem: Problem) -> Callable[..., Tensor]:
    """(the sum of a step's vectors) → `squared_norm`; the variables are one step further.

    Where something is done after each step there is a second argument: the steps before, int64 ().
    """
    import tensorflow as tf

    apply = optimiser.apply_function(problem.optimizer, problem.model.trainable_variables)

    def put(vector: Tensor, *before: Tensor) -> Tensor:
        gradients, changes = unpacked(problem, vector)
        found = squared_norm(problem, vector)
        with tf.control_dependencies([found]):  # as the optimizer was before
            apply(gradients)
        for variable, change in changes:
            variable.assign(variable.value + change)
        if problem.after:
            problem.after.change(before[0] + 1)
        return found

    return concrete(put, apply_signature(problem))


def squared_norm(problem: Problem, vector: Tensor) -> Tensor:
    """Of the gradients in a vector, as the optimizer sees them, float32 (), while tracing.

    0 where the step's noise was not measured.
    """
    import tensorflow as tf

    size = sum(_sizes(layout(problem).trained))
    measured = vector[-3] > 0
    return tf.cond(measured, lambda: _squared_norm(problem, vector[:size]), lambda: tf.zeros(()))


def _squared_norm(problem: Problem, gradient: Tensor) -> Tensor:
    import tensorflow as tf

    trained = layout(problem).trained
    seen = optimiser.preconditioned(problem.optimizer, trained, gradient)
    return tf.reduce_sum(tf.square(seen))


def _flat(tensor: Tensor) -> Tensor:
    import tensorflow as tf

    return tf.reshape(tf.cast(tensor, tf.float32), [-1])


def unpacked(
    problem: Problem, vector: Tensor
) -> tuple[list[Tensor | None], list[tuple[Any, Tensor]]]:
    """A gradient or None for each trainable variable; each kept variable with its change."""
    import tensorflow as tf

    found = layout(problem)
    *pieces, end = tf.split(vector, [*_sizes([*found.trained, *found.kept]), found.tail])
    weight, examples = end[1], end[-END]
    shaped = {
        id(v): tf.reshape(piece, v.shape)
        for v, piece in zip([*found.trained, *found.kept], pieces, strict=True)
    }
    gradients = [
        tf.cast(by_weight(problem, shaped[id(v)], examples, weight), v.dtype)
        if id(v) in shaped
        else None
        for v in problem.model.trainable_variables
    ]
    changes = []
    for v in found.kept:
        whole = not tf.as_dtype(v.dtype).is_floating  # a counter: shares of one are rounded
        change = tf.round(shaped[id(v)]) if whole else shaped[id(v)]
        changes.append((v, tf.cast(change, v.dtype)))
    return gradients, changes


def step_signature(problem: Problem) -> list[Any]:
    """Of x, y, where, flags."""
    import tensorflow as tf

    return [
        *examples_signature(problem.meta),
        tf.TensorSpec((4,), tf.int64),
        tf.TensorSpec((2,), tf.float32),
    ]


def apply_signature(problem: Problem) -> list[Any]:
    """Of the sum of a step's vectors, and of the steps before it if anything asks."""
    import tensorflow as tf

    vector = tf.TensorSpec((layout(problem).size,), tf.float32)
    return [vector, *after.signature(problem.after)]


def concrete(function: Callable[..., Any], signature: list[Any]) -> Callable[..., Any]:
    """The function, traced for a signature."""
    import tensorflow as tf

    traced = tf.function(function, input_signature=signature, autograph=False)
    return traced.get_concrete_function()  # type: ignore[no-any-return]


def on_host(tensor: Any) -> Array:
    """A tensor's numbers, without a copy where they are in memory already; not to be written."""
    if isinstance(tensor, np.ndarray):
        return tensor
    if "CPU" in tensor.device:
        return np.asarray(memoryview(tensor))
    return tensor.numpy()  # type: ignore[no-any-return]


def tail(problem: Problem, vector: Any) -> Array:
    """The last numbers of a vector, wherever it lies: what is before them stays there."""
    count = sums_of(problem) + END
    elsewhere = not isinstance(vector, np.ndarray) and "CPU" not in vector.device
    return on_host(vector[-count:] if elsewhere else vector)[-count:]


def _sizes(variables: Sequence[Any]) -> list[int]:
    return [int(np.prod(v.shape)) for v in variables]
