"""A small model whose kernels are cut by magnitude while it trains, on a cubic schedule."""

import contextlib
import functools
from typing import Any

import numpy as np

from helpers.learning.gang_steps import keras, kl
from tally.data.format import Meta
from tally.learning.moment import StepPlan
from tally.learning.tensorflow import backend
from tally.learning.tensorflow.after import After
from tally.learning.tensorflow.backend import TensorFlowBackend

FINAL, LAST, EVERY, STEPS = 0.6, 24, 6, 30  # cut at every sixth step, for the last time at the 24th


def sparsity(steps: int) -> float:
    """Of kernels that were cut at this step (Zhu and Gupta 2017, equation 1)."""
    return FINAL * (1 - (1 - min(steps / LAST, 1)) ** 3)


def pruned(meta: Meta, plan: StepPlan, over: Any = None) -> TensorFlowBackend:
    """Ready to be trained, with the same weights every time; in the scope of a strategy."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    with over.scope() if over else contextlib.nullcontext():
        layers = [kl.Conv2D(4, 3, activation="relu"), kl.GlobalAveragePooling2D()]
        outputs = kl.Dense(3, activation="softmax")
        model = keras.Sequential([keras.Input(meta.input_shape), *layers, outputs])
        return backend.prepare(model, meta, plan, masks(model))


def masks(model: Any) -> After:
    """The smallest weights become zero and stay it; counts the steps that it sees."""
    import tensorflow as tf

    def variable(initial: Any, name: str) -> Any:
        return keras.Variable(initial, trainable=False, dtype=initial.dtype, name=name)

    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    kept = [variable(np.ones(v.shape, np.float32), "mask") for v in kernels]
    last, calls = (variable(np.array(0), name) for name in ("last", "calls"))

    def change(steps: Any) -> None:
        for kernel, mask in zip(kernels, kept, strict=True):
            made = functools.partial(_mask, kernel.value, steps)
            same = functools.partial(tf.identity, mask.value)
            mask.assign(tf.cond(steps % EVERY == 0, made, same))
            kernel.assign(kernel.value * mask.value)
        last.assign(steps)
        calls.assign(calls.value + 1)

    return After([*kept, last, calls], change)


def _mask(kernel: Any, steps: Any) -> Any:
    """0 at the smallest weights, as many as it is time for."""
    import tensorflow as tf

    flat = tf.reshape(tf.abs(kernel), [-1])
    share = FINAL * (1 - (1 - tf.minimum(tf.cast(steps, tf.float32) / LAST, 1.0)) ** 3)
    cut = tf.cast(tf.round(share * tf.cast(tf.size(flat), tf.float32)), tf.int32)
    place = tf.argsort(tf.argsort(flat, stable=True), stable=True)  # of each, from the smallest
    return tf.reshape(tf.cast(place >= cut, tf.float32), kernel.shape)
