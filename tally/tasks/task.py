"""The protocol of a task, and the words that it is told in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Tensor = Any
Facts = Mapping[str, Any]
"""What `prepare` learnt of the training targets, as JSON: kept with the dataset."""


@dataclass(frozen=True)
class Batch:
    """Rows of a step, as its loss sees them.

    Attributes:
        x: (n, …) as the model takes it.
        target: what is to be answered: one array (n, …), or several by name.
    """

    x: Tensor
    target: Any


@dataclass(frozen=True)
class Target:
    """One array of what is to be answered: dtype and shape of an example's."""

    dtype: str
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Head:
    """One output of a packaged model's end: a dense layer."""

    units: int
    activation: str


Loss = Callable[[Batch, Tensor], tuple[Tensor, Tensor | None]]
"""(batch, outputs) → loss by example (n,), and its weight (n,): what the sum is divided by the sum
of. None: 1 each."""


class Task(Protocol):
    """What is learned.

    Attributes:
        name: of its file.
        totals: names of sums over a step's examples that `sums` computes: they stand in positions.
    """

    name: str
    totals: tuple[str, ...]

    def target(self, facts: Facts) -> Target | Mapping[str, Target]:
        """What an example's target is: one array, or several by name."""

    def head(self, facts: Facts) -> Head:
        """The end of a packaged model."""

    def loss(self, facts: Facts, compiled: Any) -> Loss:
        """The loss by example.

        Args:
            facts: of the dataset.
            compiled: what a compiled model of the user's has; None where the task says it.
        """

    def sums(self, batch: Batch, outputs: Tensor) -> tuple[Tensor, ...]:
        """A scalar for each of `totals`, while tracing."""

    def figures(self, totals: Mapping[str, float], examples: int) -> dict[str, float]:
        """The columns of progress beside the loss.

        Args:
            totals: sums over some examples, by name.
            examples: how many, 1 or more.
        """
