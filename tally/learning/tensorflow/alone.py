"""Many steps of a lone worker in one TensorFlow call: nothing between them but the next."""

from collections.abc import Callable
from typing import Any

from tally.learning.tensorflow import lstm_kernel, optimiser, parts
from tally.learning.tensorflow.gradients import Problem, backward
from tally.learning.tensorflow.randomness import Point

Tensor = Any


def trace_steps(problem: Problem, batch_size: int) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """(x, y, where int64 (2,): epoch, offset) → (steps done, loss sums, right answers).

    Takes as many steps as x has batches; the last one may be smaller.
    """
    import tensorflow as tf

    apply = optimiser.apply_function(problem.optimizer, problem.model.trainable_variables)

    def call(x: Tensor, y: Tensor, where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        steps = (tf.shape(y)[0] + batch_size - 1) // batch_size
        found = tf.TensorArray(tf.float32, steps), tf.TensorArray(tf.int32, steps)

        def body(i: Tensor, _: Tensor, sums: Any, rights: Any) -> Any:
            x_here, y_here = (t[i * batch_size : (i + 1) * batch_size] for t in (x, y))
            rows = tf.shape(y_here, out_type=tf.int64)[0]
            point = Point(where[0], where[1] + tf.cast(i * batch_size, tf.int64), rows)
            loss, right, gradients = backward(problem, x_here, y_here, point, rows)
            apply(gradients)
            return i + 1, tf.math.is_finite(loss), sums.write(i, loss), rights.write(i, right)

        done, _, sums, rights = tf.while_loop(
            lambda i, finite, *_: (i < steps) & finite,
            body,
            (tf.constant(0), tf.constant(True), *found),
            parallel_iterations=1,
        )
        return done, sums.stack(), rights.stack()

    with lstm_kernel.fused(problem.model, batch_size):
        return parts.concrete(
            call, [*parts.examples_signature(problem), tf.TensorSpec((2,), tf.int64)]
        )
