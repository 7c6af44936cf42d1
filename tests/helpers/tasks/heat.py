"""Heat: a map of what is where, and which of its places are known."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tally.errors import DataError
from tally.tasks.task import Batch, Column, Facts, Head, Loss, Target, Tensor


class Heat:
    """Targets are `heat` (4, 4, 2) and `known` (4, 4), 1 where it is."""

    name = "heat"
    totals = ("known",)
    columns: Mapping[str, Column] = {"known": Column("Known places", True, 1.0)}
    nearly = 0.0
    invariant = False

    def prepare(self, targets: Iterable[Any], where: str) -> Facts:
        """The hottest place."""
        return {"scale": max(float(part["heat"].max(initial=0)) for part in targets)}

    def check(self, target: Any, facts: Facts, where: str) -> None:
        """Something is known of each example, and it is a number."""
        if not target["known"].any(axis=(1, 2)).all():
            raise DataError(f"{where}: expected a known place in each example, got none; add one")
        if not np.isfinite(target["heat"]).all():
            raise DataError(f"{where}: expected finite heat, got NaN or infinity; fill it")

    def stratify(self, target: Any) -> None:
        """Nothing to stratify by."""

    def strata(self, facts: Facts) -> tuple[str, ...]:
        """None."""
        return ()

    def target(self, facts: Facts) -> Mapping[str, Target]:
        """As the class says."""
        return {"heat": Target("float32", (4, 4, 2)), "known": Target("bool", (4, 4))}

    def head(self, facts: Facts) -> Head:
        """All places."""
        return Head(32, "linear")

    def loss(self, facts: Facts, compiled: Any) -> Loss:
        """Squared distance, a known place weighing 1."""
        from keras import ops

        def loss(batch: Batch, outputs: Tensor) -> tuple[Tensor, Tensor]:
            known = ops.cast(batch.target["known"], "float32")
            apart = batch.target["heat"] / facts["scale"] - ops.reshape(outputs, (-1, 4, 4, 2))
            by_place = ops.sum(ops.square(apart), axis=-1)
            return ops.sum(by_place * known, axis=(1, 2)), ops.sum(known, axis=(1, 2))

        return loss

    def sums(self, batch: Batch, outputs: Tensor, facts: Facts) -> tuple[Tensor, ...]:
        """How many places are known."""
        from keras import ops

        return (ops.sum(ops.cast(batch.target["known"], "float32")),)

    def figures(self, totals: Mapping[str, float], examples: int) -> dict[str, float]:
        """The share of places that are known."""
        return {"known": totals["known"] / (16 * examples)}


TASK = Heat()
