"""Keras's LSTM layer run as one compiled kernel over the whole sequence, for training.

Keras runs an LSTM step by step: each step multiplies by the input weights, and its gradient adds
up three products a step. Here the input's product is taken for all steps at once before the loop,
and the weights' gradients in one product each after it, so that the loop keeps only what is truly
recurrent; XLA compiles the two loops. The layer, its variables and what is saved stay Keras's own.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

Tensor = Any


def fitting(model: Any) -> list[Any]:
    """The LSTM layers of `model` that can train as one kernel."""
    return [layer for layer in model._flatten_layers(include_self=False) if _fits(layer)]


@contextlib.contextmanager
def fused(model: Any, batch_size: int) -> Iterator[None]:
    """Let the LSTM layers of `model` that allow it be traced as one kernel inside the block.

    Args:
        model: any Keras model; other layers are untouched, and these are Keras's own again after.
        batch_size: the largest batch of what is traced: smaller ones are padded to it, since
            XLA compiles anew for each shape. Padding has no gradient.
    """
    layers = fitting(model)
    for layer in layers:
        loop = functools.partial(_inner_loop, layer, batch_size, layer.inner_loop)
        object.__setattr__(layer, "inner_loop", loop)  # past Keras's tracking
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "inner_loop")


def _fits(layer: Any) -> bool:
    import keras

    return (
        type(layer) is keras.layers.LSTM
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
        and layer.use_bias
        and not (layer.dropout or layer.recurrent_dropout)
        and not (layer.go_backwards or layer.stateful or layer.unroll)
        and layer.compute_dtype == "float32"
    )


def _inner_loop(
    layer: Any,
    batch_size: int,
    keras_loop: Any,
    sequences: Tensor,
    initial_state: list[Tensor],
    mask: Tensor | None,
    training: bool = False,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """In place of keras.layers.LSTM.inner_loop: last output, all outputs, last states."""
    import tensorflow as tf

    if not training or mask is not None or sequences.shape[1] is None:
        return keras_loop(sequences, initial_state, mask, training)  # type: ignore[no-any-return]
    examples = tf.shape(sequences)[0]
    weights = [
        tf.convert_to_tensor(v.value)
        for v in (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
    ]
    padded = [_pad(t, batch_size) for t in (sequences, *initial_state)]
    h, h_last, c_last = _lstm(layer.return_sequences)(
        tf.transpose(padded[0], [1, 0, 2]), *padded[1:], *weights
    )
    h_last, c_last = h_last[:examples], c_last[:examples]
    if layer.return_sequences:
        outputs = tf.transpose(h[:, :examples], [1, 0, 2])
    else:
        outputs = h_last[:, None]
    return h_last, outputs, [h_last, c_last]


def _pad(tensor: Tensor, batch_size: int) -> Tensor:
    import tensorflow as tf

    missing = batch_size - tf.shape(tensor)[0]
    widths = [[0, missing], *([[0, 0]] * (len(tensor.shape) - 1))]
    return tf.ensure_shape(tf.pad(tensor, widths), (batch_size, *tensor.shape[1:]))


@functools.cache
def _lstm(sequences: bool) -> Any:
    """x (T, B, F), h0, c0 (B, U), W (F, 4U), R (U, 4U), b (4U) → h (T, B, U), last h, c (B, U).

    Args:
        sequences: whether h may have a gradient, or only the last h and c.
    """
    import tensorflow as tf

    forward = tf.function(_forward, jit_compile=True, autograph=False)
    backward = tf.function(_backward, jit_compile=True, autograph=False)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def lstm(x: Tensor, h0: Tensor, c0: Tensor, w: Tensor, r: Tensor, b: Tensor) -> Any:
        gates, h, c = forward(x, h0, c0, w, r, b)

        def gradient(dh: Tensor, dh_last: Tensor, dc_last: Tensor) -> Any:
            dh = dh if sequences else None
            dz, *others = backward(x, h0, c0, r, gates, h, c, dh, dh_last, dc_last)
            # Outside the compiled part, so that a first layer, whose input has no use for it,
            # does not pay for it.
            dx = tf.reshape(tf.matmul(dz, w, transpose_b=True), tf.shape(x))
            return dx, *others

        return (h, h[-1], c[-1]), gradient

    return lstm


def _forward(x: Tensor, h0: Tensor, c0: Tensor, w: Tensor, r: Tensor, b: Tensor) -> Any:
    """Gates i, f, g, o (T, B, 4U), outputs h and states c (T, B, U); gates in Keras's order."""
    import tensorflow as tf

    steps, batch, features = x.shape
    units = r.shape[0]
    z = tf.reshape(tf.reshape(x, [-1, features]) @ w + b, [steps, batch, 4 * units])
    kept = [tf.TensorArray(x.dtype, steps, element_shape=[batch, n * units]) for n in (4, 1, 1)]

    def body(t: Tensor, h: Tensor, c: Tensor, *kept: Any) -> Any:
        i, f, g, o = tf.split(tf.gather(z, t) + h @ r, 4, axis=1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        c = f * c + i * g
        h = o * tf.tanh(c)
        values = (tf.concat([i, f, g, o], 1), h, c)
        return t + 1, h, c, *(a.write(t, v) for a, v in zip(kept, values, strict=True))

    _, _, _, *kept = tf.while_loop(lambda t, *_: t < steps, body, (0, h0, c0, *kept))
    return tuple(array.stack() for array in kept)


def _backward(
    x: Tensor, h0: Tensor, c0: Tensor, r: Tensor, gates: Tensor, h: Tensor, c: Tensor,
    dh_all: Tensor | None, dh_last: Tensor, dc_last: Tensor,
) -> Any:  # fmt: skip
    """Gradients of the gates' inputs (T · B, 4U), and of h0, c0, w, r, b."""
    import tensorflow as tf

    steps, batch, features = x.shape
    units = r.shape[0]
    h_before, c_before = tf.concat([h0[None], h[:-1]], 0), tf.concat([c0[None], c[:-1]], 0)
    tanh_c = tf.tanh(c)
    back = tf.transpose(r)  # once, not in every step of the loop
    kept = tf.TensorArray(x.dtype, steps, element_shape=[batch, 4 * units])

    def body(t: Tensor, dh: Tensor, dc: Tensor, kept: Any) -> Any:
        i, f, g, o = tf.split(tf.gather(gates, t), 4, axis=1)
        squashed = tf.gather(tanh_c, t)
        if dh_all is not None:
            dh = dh + tf.gather(dh_all, t)
        dc = dc + dh * o * (1 - squashed * squashed)
        dz = tf.concat(
            [
                dc * g * i * (1 - i),
                dc * tf.gather(c_before, t) * f * (1 - f),
                dc * i * (1 - g * g),
                dh * squashed * o * (1 - o),
            ],
            axis=1,
        )
        return t - 1, dz @ back, dc * f, kept.write(t, dz)

    start = (steps - 1, dh_last, dc_last, kept)
    _, dh0, dc0, kept = tf.while_loop(lambda t, *_: t >= 0, body, start)
    dz = tf.reshape(kept.stack(), [-1, 4 * units])
    return (
        dz,
        dh0,
        dc0,
        tf.matmul(tf.reshape(x, [-1, features]), dz, transpose_a=True),
        tf.matmul(tf.reshape(h_before, [-1, units]), dz, transpose_a=True),
        tf.reduce_sum(dz, 0),
    )
