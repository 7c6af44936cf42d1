"""What is done to weights after each optimiser step, by its number: masks, averages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Tensor = Any


@dataclass(frozen=True)
class After:
    """Traced behind the optimiser, in every way of taking steps.

    Every rank and device does it to the same weights, with the same result: it may draw nothing.

    Attributes:
        variables: keras.Variables of its own, made where the model was built, in the scope of its
            strategy; checkpoints keep them under the names after/….
        change: (optimiser steps that are in the weights, this one too, int64 ()) → None, while
            tracing; assigns variables of the model, and its own.
    """

    variables: Sequence[Any]
    change: Callable[[Tensor], None]


def signature(after: After | None) -> list[Any]:
    """Of what a traced function is told beside all else: the steps before it, if anything asks."""
    import tensorflow as tf

    return [tf.TensorSpec((), tf.int64)] if after else []
