"""Many steps of a lone worker in one TensorFlow call: nothing between them but the next."""

from collections.abc import Callable
from typing import Any

from tally.learning.tensorflow import after, lstm_kernel, optimiser, parts
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


def trace_steps(problem: Problem, batch_size: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """(x, y, where int64 (2,): epoch, offset) → (steps done, float32 (steps, k) of their sums).

    Takes as many steps as x has batches; the last one may be smaller. Where something is done after
    each step there is a fourth argument: the optimiser's steps before, int64 ().
    """
    import tensorflow as tf

    apply = optimiser.apply_function(problem.optimizer, problem.model.trainable_variables)

    def call(x: Tensor, y: Tensor, where: Tensor, *before: Tensor) -> tuple[Tensor, Tensor]:
        steps = (tf.shape(x)[0] + batch_size - 1) // batch_size
        of_steps = tf.TensorArray(tf.float32, steps, element_shape=(sums_of(problem),))

        def body(i: Tensor, _: Tensor, found: Any) -> Any:
            begin = i * batch_size
            x_here, y_here = cut((x, y), begin, begin + batch_size)
            rows = tf.shape(x_here, out_type=tf.int64)[0]
            point = Point(where[0], where[1] + tf.cast(begin, tf.int64), rows)
            sums, gradients = backward(problem, x_here, y_here, point, rows)
            whole = tf.cast(rows, tf.float32)
            apply([g if g is None else by_weight(problem, g, whole, sums[1]) for g in gradients])
            if problem.after:
                problem.after.change(before[0] + tf.cast(i, tf.int64) + 1)
            return i + 1, tf.math.is_finite(sums[0]), found.write(i, sums)

        done, _, found = tf.while_loop(
            lambda i, finite, *_: (i < steps) & finite,
            body,
            (tf.constant(0), tf.constant(True), of_steps),
            parallel_iterations=1,
        )
        return done, found.stack()

    with lstm_kernel.fused(problem.model, batch_size):
        where = [tf.TensorSpec((2,), tf.int64), *after.signature(problem.after)]
        return parts.concrete(call, [*examples_signature(problem.meta), *where])
