"""How gradients become new weights: Keras's own way, or TensorFlow's one-kernel Adam."""

from collections.abc import Callable, Sequence
from typing import Any

Tensor = Any


def apply_function(
    optimizer: Any, variables: Sequence[Any]
) -> Callable[[Sequence[Tensor | None]], None]:
    """What applies a step's gradients to the model's variables.

    Keras's Adam in its plain form becomes one kernel a variable (the same formula, on the same
    variables, a third of the memory traffic and nothing to compile); everything else is Keras's.

    Args:
        optimizer: built for `variables`.
        variables: the model's trainable ones.
    """
    if _is_plain_adam(optimizer, variables):
        return lambda gradients: _adam(optimizer, variables, gradients)
    return lambda gradients: optimizer.apply(list(gradients), list(variables))


def preconditioned(optimizer: Any, variables: Sequence[Any], gradient: Tensor) -> Tensor:
    """A gradient as the optimizer sees it: Adam divides each number by what it is used to.

    Args:
        optimizer: built for `variables`; any but a plain Adam changes nothing.
        variables: the model's trainable ones; those with a gradient follow one another in it.
        gradient: float32 (n,).
    """
    import tensorflow as tf

    inner = getattr(optimizer, "inner_optimizer", optimizer)
    known = inner._trainable_variables
    if not _is_plain_adam(inner, known):
        return gradient
    velocity = {id(v): u for v, u in zip(known, inner._velocities, strict=True)}
    flat = tf.concat([tf.reshape(velocity[id(v)].value, [-1]) for v in variables], axis=0)
    step = tf.cast(tf.maximum(tf.convert_to_tensor(inner.iterations.value), 1), tf.float32)
    unbiased = flat / (1 - tf.pow(tf.constant(inner.beta_2), step))
    return gradient / (tf.sqrt(unbiased) + inner.epsilon)


def constant_rate(optimizer: Any) -> float | None:
    """The learning rate, where no schedule says it."""
    import keras

    inner = getattr(optimizer, "inner_optimizer", optimizer)
    scheduled = isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule)
    return None if scheduled else rate_of(inner)


def rate_of(optimizer: Any) -> float:
    """The optimizer's learning rate now, its variable mirrored over several devices or not."""
    import tensorflow as tf

    return float(tf.convert_to_tensor(optimizer.learning_rate))


def _is_plain_adam(optimizer: Any, variables: Sequence[Any]) -> bool:
    import keras

    options = (
        "amsgrad", "weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "use_ema",
        "loss_scale_factor", "gradient_accumulation_steps",
    )  # fmt: skip
    return (
        type(optimizer) is keras.optimizers.Adam
        and not any(getattr(optimizer, option, None) for option in options)
        and len(getattr(optimizer, "_momentums", ())) == len(variables)
        and all(v.constraint is None and str(v.dtype) == "float32" for v in variables)
        and not any(getattr(v, "overwrite_with_gradient", False) for v in variables)
    )


def _adam(optimizer: Any, variables: Sequence[Any], gradients: Sequence[Tensor | None]) -> None:
    """Kingma and Ba 2015, in the form of section 2's end, as Keras has it."""
    import tensorflow as tf

    rate = tf.convert_to_tensor(optimizer.learning_rate)  # before the count moves: schedules use it
    step = tf.cast(optimizer.iterations.value.assign_add(1), tf.float32)
    beta_1, beta_2 = tf.constant(optimizer.beta_1), tf.constant(optimizer.beta_2)
    powers = tf.pow(beta_1, step), tf.pow(beta_2, step)
    moments = zip(optimizer._momentums, optimizer._velocities, strict=True)
    for variable, (m, v), gradient in zip(variables, moments, gradients, strict=True):
        if gradient is not None:
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=m.value.handle,
                v=v.value.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=rate,
                beta1=beta_1,
                beta2=beta_2,
                epsilon=optimizer.epsilon,
                grad=gradient,
            )
