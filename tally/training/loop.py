"""Several optimiser steps in one TensorFlow call, with a result that no grouping can change.

A step is gradients → (a gang's all_reduce will stand here) → apply; gradients are sums over a
step's examples divided by the global batch's true size, so that shares of a batch add up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tally.data.format import Array, Meta
from tally.errors import SpecError
from tally.training import lstm_kernel, optimiser

Tensor = Any


@dataclass(frozen=True)
class Training:
    """A model that is ready to be trained.

    Attributes:
        model: the keras.Model.
        optimizer: its keras optimizer, built.
        batch_size: examples of one optimiser step; the last of a call may have fewer.
        call: (x as stored (n, …), y int32 (n,)) → (steps done, loss sums, correct), see `run`.
    """

    model: Any
    optimizer: Any
    batch_size: int
    call: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def prepare(model: Any, meta: Meta, batch_size: int, learning_rate: float) -> Training:
    """Trace the training of a model on a dataset's examples; changes no variable.

    A compiled model keeps its optimizer and loss; another gets Adam and cross-entropy.
    """
    import keras

    compiled = getattr(model, "optimizer", None) is not None
    optimizer = model.optimizer if compiled else keras.optimizers.Adam(learning_rate)
    optimizer.build(model.trainable_variables)
    losses = _losses(model.loss if compiled else None, len(meta.class_names))
    lstm_kernel.fuse(model, batch_size)
    call = _traced(model, optimizer, losses, meta, batch_size)
    return Training(model, optimizer, batch_size, call)


def run(training: Training, x: Array, y: Array) -> tuple[Array, Array]:
    """Train on consecutive batches, one optimiser step each.

    Args:
        training: its variables are updated.
        x: (n, *input_shape) as stored; n may be any multiple of the batch size, and beyond one
            only at the end of an epoch.
        y: labels (n,).

    Returns:
        A step's summed loss, float32 (steps,), and its number of right answers, int32 (steps,);
        both end with the first step whose loss is not finite: no later one was done.
    """
    steps, losses, correct = training.call(x, y)
    done = int(steps)
    return losses.numpy()[:done], correct.numpy()[:done]


def variables(training: Training) -> dict[str, Any]:
    """Every variable that a checkpoint must hold, by a name that is the same in every process."""
    found = {f"model/{i:04d}.{v.name}": v for i, v in enumerate(training.model.variables)}
    for i, variable in enumerate(training.optimizer.variables):
        found[f"optimizer/{i:04d}.{variable.name}"] = variable
    return found


def assign(targets: dict[str, Any], tensors: dict[str, Array], where: str) -> None:
    """Set variables by name.

    Raises:
        SpecError: the tensors are another model's; nothing was set.
    """
    wanted = {name: tuple(variable.shape) for name, variable in targets.items()}
    found = {name: value.shape for name, value in tensors.items()}
    if wanted != found:
        odd = sorted(wanted.items() ^ found.items())[0][0]
        raise SpecError(
            f"{where}: expected the variables of this model, got others (first: {odd}, "
            f"{found.get(odd)} instead of {wanted.get(odd)}); submit a new run"
        )
    for name, variable in targets.items():
        variable.assign(tensors[name])


def _losses(loss: Any, classes: int) -> Callable[[Tensor, Tensor], Tensor]:
    """(labels (n,), probabilities (n, classes)) → loss by example (n,)."""
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


def _traced(
    model: Any, optimizer: Any, losses: Any, meta: Meta, batch_size: int
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """The call of a Training: a loop over the steps, with any number of examples."""
    import tensorflow as tf

    apply = optimiser.apply_function(optimizer, model.trainable_variables)

    def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        examples = tf.cast(tf.shape(y)[0], tf.float32)
        loss, right, gradients = _gradients(model, optimizer, losses, scaled(x, meta), y, examples)
        apply(gradients)
        return loss, right

    def call(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        steps = (tf.shape(y)[0] + batch_size - 1) // batch_size
        found = tf.TensorArray(tf.float32, steps), tf.TensorArray(tf.int32, steps)

        def body(i: Tensor, _: Tensor, sums: Any, rights: Any) -> Any:
            here = slice(i * batch_size, (i + 1) * batch_size)
            loss, right = step(x[here], y[here])
            return i + 1, tf.math.is_finite(loss), sums.write(i, loss), rights.write(i, right)

        done, _, sums, rights = tf.while_loop(
            lambda i, finite, *_: (i < steps) & finite,
            body,
            (tf.constant(0), tf.constant(True), *found),
            parallel_iterations=1,
        )
        return done, sums.stack(), rights.stack()

    signature = [
        tf.TensorSpec((None, *meta.input_shape), meta.input_dtype),
        tf.TensorSpec((None,), tf.int32),
    ]
    traced = tf.function(call, input_signature=signature, autograph=False)
    return traced.get_concrete_function()  # type: ignore[no-any-return]


def _gradients(
    model: Any, optimizer: Any, losses: Any, x: Tensor, y: Tensor, batch_examples: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Summed loss, right answers, and this part's share of the gradients of the whole batch.

    Args:
        model, optimizer, losses: what is trained.
        x, y: the part of the global batch that is computed here.
        batch_examples: true size of the global batch.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = tf.reduce_sum(losses(y, outputs))
        if model.losses:  # what layers add, once a batch: each example's share of it
            loss += tf.add_n(model.losses) * tf.cast(tf.shape(y)[0], tf.float32)
        target = optimizer.scale_loss(loss / batch_examples)
    # An embedding's gradient comes as one row a lookup. Summed here: rows of a token that
    # reach an optimiser apart are squared apart by Keras, and would be different in a gang.
    gradients = [
        g if g is None else tf.convert_to_tensor(g)
        for g in tape.gradient(target, [v.value for v in model.trainable_variables])
    ]
    answers = tf.argmax(outputs, axis=-1, output_type=tf.int32)
    return loss, tf.reduce_sum(tf.cast(answers == y, tf.int32)), gradients


def scaled(x: Tensor, meta: Meta) -> Tensor:
    """Stored values as the model takes them: float32 × input_scale, tokens as they are."""
    import tensorflow as tf

    if meta.kind == "tokens":
        return x
    x = tf.cast(x, tf.float32)
    return x if meta.input_scale == 1 else x * np.float32(meta.input_scale)
