"""Random layers that draw the same for an example, whoever computes it.

Philox is counter-based: the numbers of row r of an epoch stand at counter r × (groups of four a
row), so any rows of a batch are drawn without the others. The key comes from the run's seed, the
layer and the call of it, the counter from epoch and row. What Tally does not know how to draw by
row (a layer of the user's own, a layer inside a loop) keeps Keras's way of drawing, from a state
that is set anew from seed, epoch and first row before each use: the same after a restart, and in
deterministic mode, where each virtual shard is computed by itself, the same for any gang.
"""

import contextlib
import functools
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Tensor = Any
_PHILOX = 1  # TensorFlow's number of the algorithm
_GROUP = 4  # numbers that one count gives


@dataclass(frozen=True)
class Point:
    """The rows that are computed, as int64 tensors of the graph that is traced.

    Attributes:
        epoch: from 0.
        first_row: of the epoch's order: offset of the step plus the first row of it.
        rows: how many follow each other.
    """

    epoch: Tensor
    first_row: Tensor
    rows: Tensor


@dataclass
class _Draws:
    """What the layers share while a forward pass is traced."""

    seed: int
    point: Point
    graph: Any
    calls: Counter[str] = field(default_factory=Counter)
    not_by_row: set[str] = field(default_factory=set)

    def key(self, place: str) -> int:
        """64 bits for the next call of a layer: each call of a shared layer has its own."""
        text = f"{self.seed}/{place}/{self.calls[place]}"
        self.calls[place] += 1
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@contextlib.contextmanager
def keyed(model: Any, seed: int, point: Point) -> Iterator[set[str]]:
    """Let `model` draw by `point` in the forward pass that is traced inside the block.

    The layers' own methods are covered past Keras's tracking, and are back afterwards.

    Args:
        model: any Keras model.
        seed: the run's.
        point: what the traced graph computes.

    Yields:
        The names of layers that drew otherwise than by row, complete after the forward pass.
    """
    import tensorflow as tf

    draws = _Draws(seed, point, tf.compat.v1.get_default_graph())
    covered: list[tuple[Any, str]] = []

    def cover(owner: Any, name: str, function: Callable[..., Any]) -> None:
        object.__setattr__(owner, name, function)
        covered.append((owner, name))

    with tf.init_scope():
        generators = [("keras.random", generator_for_all())]
    for index, layer in enumerate(model._flatten_layers(include_self=True)):
        place = f"{index}.{type(layer).__name__}"
        by_row = _by_row(layer)
        if by_row:
            name, draw = by_row
            own = getattr(layer, name)
            cover(layer, name, functools.partial(_draw, layer, draw, own, draws, place))
        generators += [(layer.name, g) for g in getattr(layer, "_seed_generators", ())]
    for number, (name, generator) in enumerate(generators):
        cover(generator, "next", functools.partial(_next, generator, draws, number, name))
    try:
        yield draws.not_by_row
    finally:
        for owner, name in covered:
            object.__delattr__(owner, name)


def generator_for_all() -> Any:
    """Keras's generator behind keras.random; makes its variable, which no traced step may."""
    from keras.src.random.seed_generator import global_seed_generator

    return global_seed_generator()


def use_for_all(generator: Any) -> None:
    """Let this thread, too, have the generator behind keras.random: Keras keeps one a thread."""
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, generator)


def _by_row(layer: Any) -> tuple[str, Callable[..., Any]] | None:
    """The method of a layer that draws, and what draws in its place; None: it is left alone."""
    import keras
    from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell

    kl = keras.layers
    if type(layer) is kl.Dropout:
        shared = layer.noise_shape is not None and layer.noise_shape[0] is not None
        return None if shared else ("call", _dropout)
    if type(layer) in (kl.SpatialDropout1D, kl.SpatialDropout2D, kl.SpatialDropout3D):
        return "call", _dropout
    if type(layer) is kl.GaussianNoise:
        return "call", _gaussian_noise
    if type(layer) is kl.GaussianDropout:
        return "call", _gaussian_dropout
    if type(layer) in (kl.LSTMCell, kl.GRUCell, kl.SimpleRNNCell):
        assert isinstance(layer, DropoutRNNCell)
        return "_create_dropout_mask", _cell_masks
    return None


def _draw(
    layer: Any, draw: Any, own: Any, draws: _Draws, place: str, *arguments: Any, **named: Any
) -> Any:
    """Draw by row, where the layer stands in the graph itself: in a loop each turn must differ."""
    import tensorflow as tf

    if tf.compat.v1.get_default_graph() is not draws.graph:
        return own(*arguments, **named)
    return draw(layer, functools.partial(_numbers, draws, place), *arguments, **named)


def _next(generator: Any, draws: _Draws, number: int, name: str, ordered: bool = True) -> Tensor:
    """In place of SeedGenerator.next: the same, from a state that the point decides."""
    import tensorflow as tf

    place = f"generator {number}"
    if not draws.calls[place]:
        with draws.graph.as_default():  # ahead of a loop that it may be drawn in
            state = tf.raw_ops.StatelessRandomUniformFullIntV2(
                shape=[2],
                key=tf.constant([draws.key(place)], tf.uint64),
                counter=_counter(draws.point.first_row, draws.point.epoch),
                alg=_PHILOX,
                dtype=tf.int32,
            )
            generator.state.assign(tf.cast(state, generator.state.dtype))
        draws.not_by_row.add(name)
    return type(generator).next(generator, ordered)


def _numbers(draws: _Draws, place: str, operation: Any, shape: list[Any]) -> Tensor:
    """Random numbers of `shape`, float32, whose first dimension is the rows of the point.

    A model may fold further dimensions into the first, after the row: then each row has several.
    """
    import tensorflow as tf

    width = math.prod(shape[1:])
    groups = (width + _GROUP - 1) // _GROUP
    point = draws.point
    each = tf.cast(shape[0], tf.int64) // tf.maximum(point.rows, 1)
    found = operation(
        shape=tf.stack([shape[0], groups * _GROUP]),
        key=tf.constant([draws.key(place)], tf.uint64),
        counter=_counter(point.first_row * each * tf.cast(groups, tf.int64), point.epoch),
        alg=_PHILOX,
        dtype=tf.float32,
    )
    if not isinstance(width, int) or width % _GROUP:
        found = found[:, :width]
    return tf.reshape(found, tf.stack(shape))


def _counter(low: Tensor, high: Tensor) -> Tensor:
    import tensorflow as tf

    return tf.bitcast(tf.stack([low, high]), tf.uint64)


def _shape(tensor: Tensor) -> list[Any]:
    """Static sizes where they are known, tensors where not; the first is always a tensor."""
    import tensorflow as tf

    known, found = tensor.shape, tf.shape(tensor)
    return [found[0], *(found[i] if known[i] is None else known[i] for i in range(1, len(known)))]


def _dropped(numbers: Any, inputs: Tensor, rate: float, shape: list[Any]) -> Tensor:
    """tf.nn.dropout's formula."""
    import tensorflow as tf

    if rate >= 1:
        return tf.zeros_like(inputs)
    kept = numbers(tf.raw_ops.StatelessRandomUniformV2, shape) >= rate
    return tf.where(kept, inputs * tf.cast(1 / (1 - rate), inputs.dtype), 0)


def _dropout(layer: Any, numbers: Any, inputs: Tensor, training: bool = False) -> Tensor:
    import tensorflow as tf

    if not training or not layer.rate:
        return inputs
    inputs = tf.convert_to_tensor(inputs)
    shape = _shape(inputs)
    if hasattr(layer, "_get_noise_shape"):
        wanted = layer._get_noise_shape(inputs)
    else:
        wanted = layer.noise_shape or shape
    shape[1:] = [
        size if asked is None or not isinstance(asked, int) else asked
        for size, asked in zip(shape[1:], wanted[1:], strict=True)
    ]
    return _dropped(numbers, inputs, layer.rate, shape)


def _gaussian_noise(layer: Any, numbers: Any, inputs: Tensor, training: bool = False) -> Tensor:
    import tensorflow as tf

    if not training or not layer.stddev:
        return inputs
    noise = numbers(tf.raw_ops.StatelessRandomNormalV2, _shape(inputs)) * layer.stddev
    return inputs + tf.cast(noise, inputs.dtype)


def _gaussian_dropout(layer: Any, numbers: Any, inputs: Tensor, training: bool = False) -> Tensor:
    import tensorflow as tf

    if not training or not layer.rate:
        return inputs
    spread = math.sqrt(layer.rate / (1 - layer.rate))
    noise = numbers(tf.raw_ops.StatelessRandomNormalV2, _shape(inputs)) * spread + 1
    return inputs * tf.cast(noise, inputs.dtype)


def _cell_masks(cell: Any, numbers: Any, step_input: Tensor, dropout_rate: float) -> Any:
    """A recurrent layer's masks, drawn once for all steps of a sequence."""
    import tensorflow as tf

    count = getattr(cell, "dropout_mask_count", None)
    ones, shape = tf.ones_like(step_input), _shape(step_input)
    masks = [_dropped(numbers, ones, dropout_rate, shape) for _ in range(count or 1)]
    return masks if count else masks[0]
