"""What a user's model ends in: what its task answers with, or logits, which lack an activation.

Whoever takes a model's outputs asks here. A packaged model ends in its task's activation; a user's
may end without, as those do that are compiled with `from_logits=True`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tally.data.format import Array, Meta
from tally.data.head import head
from tally.tasks import registry
from tally.tasks.task import Loss

Tensor = Any
CLOSING = ("softmax", "sigmoid", "hard_sigmoid", "sparsemax")  # what gives probabilities, or scores
TRIED = 8  # examples
NEAR = 0.02  # of sums of probabilities in bfloat16


def loss(model: Any, meta: Meta) -> Loss:
    """The loss by example of the model's own outputs: that of its compile(), else of its task."""
    task, own = registry.named(meta.task), _own_loss(model)
    by_example = task.loss(meta.facts, own)
    if own is not None:
        return by_example
    finish = finished(model, meta)
    return lambda batch, outputs: by_example(batch, finish(outputs))


def finished(model: Any, meta: Meta) -> Callable[[Tensor], Tensor]:
    """What makes the model's outputs what its task answers with, while tracing too."""
    import keras

    if not (name := missing(model, meta)):
        return lambda outputs: outputs
    activation = keras.activations.get(name)
    return lambda outputs: activation(keras.ops.cast(outputs, "float32"))


def missing(model: Any, meta: Meta) -> str:
    """The activation of the task's head that the model, built, ends without; "" for none.

    Its last layer says it. Where that says nothing (a subclass of Model, a Lambda), its own loss
    does, by from_logits; else what it makes of a few examples: probabilities sum to 1.
    """
    wanted = head(meta).activation
    if wanted == "linear":
        return ""
    last = _last_activation(model)
    if last is not None:
        return "" if last in CLOSING else wanted
    if getattr(_own_loss(model), "from_logits", False):
        return wanted
    return "" if _are_probabilities(np.asarray(model(_examples(meta), training=False))) else wanted


def _own_loss(model: Any) -> Any:
    """What the model was compiled with; None where that has no loss, or it was not."""
    return model.loss if getattr(model, "optimizer", None) is not None else None


def _last_activation(model: Any) -> str | None:
    """Of the layer that gives the model's output; None where it has none that Keras knows."""
    import keras

    outputs = getattr(model, "outputs", None)
    if not outputs:
        return None
    last = outputs[0]._keras_history.operation
    if isinstance(last, keras.Model):
        return _last_activation(last)
    if type(last).__name__ == "Softmax":  # the layer, and the operation
        return "softmax"
    activation = getattr(last, "activation", None)
    packaged = type(last).__module__.startswith("keras.")
    name = getattr(activation, "__name__", "")
    known = packaged and name and getattr(keras.activations, name, None) is activation
    return name if known else None


def _examples(meta: Meta) -> Array:
    random = np.random.default_rng(0)
    shape = (TRIED, *meta.input_shape)
    if meta.kind == "tokens":
        return random.integers(0, max(1, len(meta.vocabulary)), shape).astype(np.int32)
    return random.normal(size=shape).astype(np.float32)


def _are_probabilities(outputs: Array) -> bool:
    found = outputs.astype(np.float64)
    return bool(found.min() >= -NEAR and np.allclose(found.sum(axis=-1), 1.0, atol=NEAR))
