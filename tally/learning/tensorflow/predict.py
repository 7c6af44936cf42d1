"""What a trained model says, from the weights that training wrote."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tally.data.format import Array, Meta, Split
from tally.errors import DataError
from tally.learning.checkpoint import WEIGHTS, read_tensors
from tally.learning.tensorflow import environment
from tally.models import registry as models
from tally.tasks import registry

if TYPE_CHECKING:
    import keras


def load(model: str, meta: Meta, model_folder: Path) -> "keras.Model":
    """The trained model, built anew by name and given its weights: no pickle is read.

    Raises:
        SpecError: no such model, or the user's file fails.
        DataError: the weights are missing, damaged, or another model's.
    """
    environment.load_keras()
    built = models.build(model, meta)
    assign(built, model_folder / WEIGHTS)
    return built


def assign(model: Any, path: Path) -> None:
    """Give a built model the weights that training wrote.

    Args:
        model: changed in place.
        path: of weights.safetensors.

    Raises:
        DataError: they are missing, damaged, or another model's.
    """
    try:
        tensors, _ = read_tensors(path)
    except ValueError as error:
        raise DataError(
            f"{path}: expected the weights that training wrote, got {error}; "
            "run the train step again"
        ) from error
    variables = list(model.variables)
    values = [tensors[name] for name in sorted(tensors)]
    shapes = [tuple(v.shape) for v in variables], [v.shape for v in values]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"{path}: expected weights of shapes {shapes[0]}, got {shapes[1]}; "
            "was the model changed since it was trained? run the train step again"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def answers(model: Any, split: Split, meta: Meta, batch_size: int = 512) -> Array:
    """What the model says of every example of a split, in order, as the task decodes it (n, …).

    Args:
        model: from `load`.
        split: read batch by batch from its memory map.
        meta: the dataset's.
        batch_size: examples at once.
    """
    import tensorflow as tf

    from tally.learning.tensorflow import ending
    from tally.learning.tensorflow.gradients import scaled

    finish = ending.finished(model, meta)
    signature = [tf.TensorSpec((None, *meta.input_shape), meta.input_dtype)]
    traced = tf.function(
        lambda x: finish(model(scaled(x, meta), training=False)),
        input_signature=signature,
        autograph=False,
    )
    parts = [
        traced(split.gather(np.arange(first, min(first + batch_size, len(split))))[0]).numpy()
        for first in range(0, len(split), batch_size)
    ]
    return registry.named(meta.task).decode(np.concatenate(parts), meta.facts)
