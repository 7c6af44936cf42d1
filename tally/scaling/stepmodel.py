"""Seconds of a training step at any number of workers, as a closed form of few numbers. Pure.

T = (s - 1) T_grad + (T_grad^gamma + T_sync^gamma)^(1/gamma), eq. 11 of Qiao et al., Pollux, OSDI
2021: s passes a step, of which the last overlaps with synchronising the gradients, the more the
larger gamma. T_grad = a + b m for m examples a pass. T_sync = 0 alone, else c + d phi(k) for k
workers, with (c, d) apart for one node and for several. Pollux takes phi = k - 2; a ring's traffic
grows as 1 - 2/k and a tree's stages as log2(k/2), and phi is a mean of these two.
"""

import math
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tally.errors import SpecError

MIN_GAMMA, MAX_GAMMA = 1.0, 10.0
Number = TypeVar("Number", float, NDArray[np.float64])


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """What a step costs in time, of one model on one machine type.

    Attributes:
        grad_base_seconds: of a pass, whatever its examples.
        grad_example_seconds: of each example a pass.
        sync_base_seconds: synchronising two workers of one node.
        sync_growth_seconds: what `growth` multiplies, on one node.
        sync_nodes_base_seconds: synchronising two workers of two nodes.
        sync_nodes_growth_seconds: what `growth` multiplies, across nodes.
        gamma: 1, synchronising begins when the pass has ended, to 10, both run at once.
        log2_weight: 0 grows as a ring does, 1 as log2 does, between them their weighted mean.

    Raises:
        SpecError: a time below 0 or not finite, gamma not in 1-10, the weight not in 0-1.
    """

    grad_base_seconds: float
    grad_example_seconds: float
    sync_base_seconds: float = 0.0
    sync_growth_seconds: float = 0.0
    sync_nodes_base_seconds: float = 0.0
    sync_nodes_growth_seconds: float = 0.0
    gamma: float = MIN_GAMMA
    log2_weight: float = 0.0

    def __post_init__(self) -> None:
        bounds = {"gamma": (MIN_GAMMA, MAX_GAMMA), "log2_weight": (0.0, 1.0)}
        for name in (field.name for field in fields(self)):
            low, high = bounds.get(name, (0.0, math.inf))
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise SpecError(
                    f"step time: expected {name} from {low:g} to {high:g}, got {value}; "
                    "fit it to observations, or correct the catalogue it was made from"
                )


def growth(workers: int, log2_weight: float) -> float:
    """How far synchronising has grown since two workers; 0 for two, no unit."""
    pairs = max(workers, 2) / 2
    return (1 - log2_weight) * (1 - 1 / pairs) + log2_weight * math.log2(pairs)


def together(grad: Number, sync: Number, gamma: float, accumulation: Number) -> Number:
    """Seconds of a step from those of a pass and of synchronising: eq. 11 of Pollux."""
    last: Number = (grad**gamma + sync**gamma) ** (1 / gamma)
    return (accumulation - 1) * grad + last


def grad_seconds(model: StepTime, slowest_examples: float) -> float:
    """Seconds of one pass over the slowest worker's examples."""
    return model.grad_base_seconds + model.grad_example_seconds * slowest_examples


def sync_seconds(model: StepTime, workers: int, nodes: int = 1) -> float:
    """Seconds that synchronising takes by itself, before any overlap; 0 for one worker."""
    if workers < 2:
        return 0.0
    if nodes < 2:
        base, more = model.sync_base_seconds, model.sync_growth_seconds
    else:
        base, more = model.sync_nodes_base_seconds, model.sync_nodes_growth_seconds
    return base + more * growth(workers, model.log2_weight)


def step_seconds(
    model: StepTime,
    workers: int,
    slowest_examples: float,
    nodes: int = 1,
    accumulation: int = 1,
) -> float:
    """Seconds one training step takes.

    Args:
        model: fitted coefficients.
        workers: world size, 1 or more.
        slowest_examples: examples a pass of the worker that has most of them, above 0.
        nodes: machines that the workers are on, 1 to `workers`.
        accumulation: passes a step, 1 or more.

    Raises:
        SpecError: an argument out of its range.

    Source: Qiao et al., Pollux, OSDI 2021, eq. 11, with another growth of the sync term.
    """
    check_size(workers, slowest_examples, nodes, accumulation)
    grad, sync = grad_seconds(model, slowest_examples), sync_seconds(model, workers, nodes)
    return together(grad, sync, model.gamma, float(accumulation))


def check_size(workers: int, slowest_examples: float, nodes: int, accumulation: int) -> None:
    """Refuse a size that no gang can have.

    Raises:
        SpecError: naming what is out of its range.
    """
    if workers < 1 or accumulation < 1:
        raise SpecError(
            f"step time: expected 1 or more workers and passes a step, got {workers} and "
            f"{accumulation}; ask for a size that a gang can have"
        )
    if not 1 <= nodes <= workers:
        raise SpecError(
            f"step time: expected 1 to {workers} nodes for {workers} workers, got {nodes}; "
            "each node holds a worker at least"
        )
    if not 0 < slowest_examples < math.inf:
        raise SpecError(
            f"step time: expected examples a worker above 0, got {slowest_examples}; "
            "take a batch of at least one example a worker"
        )
