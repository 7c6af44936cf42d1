"""Several accelerators inside one worker: its rows are spread over them, variables are mirrored.

To the rest of a gang such a worker is one rank: the vectors of its devices are summed before they
leave it. MirroredStrategy on GPUs is tested on logical CPU devices; the way of TPUs, where every
core has to run the same shapes, has not been run on one.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tally.data.format import Array
from tally.learning import order
from tally.learning.tensorflow import lstm_kernel, parts, randomness
from tally.learning.tensorflow.gradients import Problem, cut
from tally.learning.tensorflow.randomness import Point

Tensor = Any


def strategy(names: Sequence[str] = ()) -> Any | None:
    """What spreads a worker over its accelerators; None where there are not several.

    Build the model inside its `scope()`; tally.learning.tensorflow.backend.prepare finds it there.

    Args:
        names: devices to use, "CPU:0" or the like; all TPU cores or GPUs of the worker by default.
    """
    import tensorflow as tf

    if names:
        return tf.distribute.MirroredStrategy(list(names))
    if tf.config.list_physical_devices("TPU"):
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    gpus = len(tf.config.list_logical_devices("GPU"))
    return tf.distribute.MirroredStrategy() if gpus > 1 else None


def current() -> Any | None:
    """The strategy whose scope this is called in; None for a single device."""
    import tensorflow as tf

    return tf.distribute.get_strategy() if tf.distribute.has_strategy() else None


def spread(rows: int, replicas: int, *, equal: bool) -> tuple[Array, Array]:
    """Which rows each device computes, int64 (replicas, 2), and their weights, float32 (replicas,).

    A device without rows computes the first one for nothing. Where all shapes have to be equal and
    the rows do not allow it, every device computes all of them, for its share of the result.

    Args:
        rows: of this worker in this step, 1 or more.
        replicas: devices.
        equal: whether all devices must have as many.
    """
    if equal and rows % replicas:
        whole = np.tile(np.array([0, rows], np.int64), (replicas, 1))
        return whole, np.full(replicas, 1 / replicas, np.float32)
    edges = order.shard_bounds(rows, replicas)[::-1]
    found = rows - np.stack([edges[:-1], edges[1:]], axis=1)  # the first are never without rows
    empty = found[:, 0] == found[:, 1]
    found[empty] = (0, 1)
    return found, 1 - empty.astype(np.float32)


def trace_part(problem: Problem, padded_rows: int, over: Any) -> Callable[..., Tensor]:
    """tally.learning.tensorflow.parts.trace_part, over several devices.

    Args:
        problem: what is trained, built in the scope of `over`.
        padded_rows: as many as it will ever be called with.
        over: the strategy.
    """
    import keras
    import tensorflow as tf

    generator = randomness.generator_for_all()
    replicas, static = over.num_replicas_in_sync, isinstance(over, tf.distribute.TPUStrategy)

    def replica(
        x: Tensor, y: Tensor, where: Tensor, flags: Tensor, edges: Tensor, weights: Tensor
    ) -> Tensor:
        context = tf.distribute.get_replica_context()
        randomness.use_for_all(generator)  # a replica is traced in a thread of its own
        number = context.replica_id_in_sync_group
        begin, weight = edges[number, 0], weights[number]
        rows = edges[number, 1] - begin
        x_here, y_here = (
            _slice((x, y), begin, replicas) if static else cut((x, y), begin, begin + rows)
        )
        raised = tf.where(tf.equal(number, 0), flags / weight, 0)
        point = Point(where[0], where[1] + begin, rows)
        # What layers keep is written into the scope, not into variables that devices share.
        with keras.StatelessScope(collect_losses=True):
            vector = parts.part(problem, x_here, y_here, point, where[2:], raised)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, vector * weight)

    def compute(*inputs: Tensor) -> Tensor:
        return over.experimental_local_results(over.run(replica, args=inputs))[0]

    signature = [
        *parts.step_signature(problem),
        tf.TensorSpec((replicas, 2), tf.int64),
        tf.TensorSpec((replicas,), tf.float32),
    ]
    with lstm_kernel.fused(problem.model, -(-padded_rows // replicas)):
        if static:
            traced: Any = tf.function(compute, autograph=False)
        else:
            traced = parts.concrete(compute, signature)
    return lambda x, y, where, flags: traced(
        x, y, where, flags, *spread(len(x), replicas, equal=static)
    )


def trace_apply(problem: Problem, over: Any) -> Callable[..., Tensor]:
    """tally.learning.tensorflow.parts.trace_apply, the same on each of several devices.

    Args:
        problem: what is trained.
        over: the strategy.
    """
    import tensorflow as tf

    def replica(vector: Tensor) -> None:
        gradients, _ = parts.unpacked(problem, vector)
        problem.optimizer.apply(gradients, list(problem.model.trainable_variables))

    def put(vector: Tensor, *before: Tensor) -> Tensor:
        found = parts.squared_norm(problem, vector)
        with tf.control_dependencies([found]):
            over.run(replica, args=(vector,))
        for variable, change in parts.unpacked(problem, vector)[1]:
            variable.assign(variable.value + change)
        if problem.after:  # outside the replicas: computed once, assigned on all of them
            problem.after.change(before[0] + 1)
        return found

    with _already_summed(problem.optimizer):
        return parts.concrete(put, parts.apply_signature(problem))


def _slice(examples: Any, begin: Tensor, replicas: int) -> Any:
    """A replica's rows, whose number is known while tracing: on a TPU every shape is compiled."""
    import tensorflow as tf

    def part(array: Tensor) -> Tensor:
        rows, *others = array.shape
        count = rows // replicas if rows % replicas == 0 else rows
        return tf.slice(array, [begin, *(0 for _ in others)], [count, *others])

    return tf.nest.map_structure(part, examples)


@contextlib.contextmanager
def _already_summed(optimizer: Any) -> Iterator[None]:
    """Keras sums gradients over the devices when it applies them; these are sums already."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    object.__setattr__(inner, "_all_reduce_sum_gradients", lambda pairs: pairs)
    try:
        yield
    finally:
        object.__delattr__(inner, "_all_reduce_sum_gradients")
