"""Closed-form memory of training a model: weights, gradients, optimiser, activations. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from tally.errors import SpecError
from tally.models.flops import ModelCost

NUMBER_BYTES = 4  # float32 throughout
FRAMEWORK_BYTES = 700 * 2**20
"""Of a worker's process with TensorFlow and Keras loaded and nothing built (measured)."""

SLOTS: Mapping[str, int] = {"sgd": 0, "momentum": 1, "rmsprop": 1, "adam": 2}
"""Numbers that an optimiser keeps beside each weight: Adam the first and the second moment."""

UPDATE_FLOPS: Mapping[str, int] = {"sgd": 2, "momentum": 4, "rmsprop": 9, "adam": 13}
"""Operations of an update of one weight: Kingma and Ba 2015, in the form of section 2's end."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What one worker holds, in bytes.

    Attributes:
        weights, gradients: one number a parameter each.
        optimiser: its slots.
        activations: kept from the forward pass for the backward one, and their gradients.
        framework: what there is before any model.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    framework: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimiser + self.activations + self.framework

    @property
    def of_model(self) -> int:
        """What an accelerator holds: without the framework's own, which is the host's."""
        return self.total - self.framework


def training_memory(
    cost: ModelCost, examples: int, input_numbers: int, optimiser: str = "adam"
) -> MemoryNeed:
    """Memory of one worker that trains.

    Args:
        cost: of the model.
        examples: of the worker's own part of a batch.
        input_numbers: of one example.
        optimiser: a name of SLOTS.

    Raises:
        SpecError: an optimiser whose state is not known.

    A recurrent layer keeps its four gates and its cell a step (Hochreiter and Schmidhuber 1997),
    another layer what it gives on; backward has a gradient of the same size beside the largest.
    """
    if optimiser not in SLOTS:
        raise SpecError(
            f"optimiser: expected one of {', '.join(SLOTS)}, got {optimiser}; choose one"
        )
    weights = cost.parameters * NUMBER_BYTES
    kept = [_numbers(layer.output_shape) * _KEPT.get(layer.name, 1) for layer in cost.layers]
    activations = (input_numbers + sum(kept) + max(kept, default=0)) * examples * NUMBER_BYTES
    return MemoryNeed(weights, weights, SLOTS[optimiser] * weights, activations, FRAMEWORK_BYTES)


def update_bytes(cost: ModelCost, optimiser: str = "adam") -> int:
    """Memory traffic of an update: weight and slots read and written, gradient read."""
    return cost.parameters * NUMBER_BYTES * (2 * (1 + SLOTS[optimiser]) + 1)


_KEPT = {"lstm": 6}  # four gates, cell and state


def _numbers(shape: tuple[int, ...]) -> int:
    found = 1
    for side in shape:
        found *= side
    return found
