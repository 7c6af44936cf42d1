"""Boxes: any number of them in a picture; the answer is one that is near all of them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tally.errors import DataError
from tally.tasks.targets import Ragged
from tally.tasks.task import Batch, Column, Facts, Head, Loss, Target, Tensor


class Boxes:
    """Targets are `boxes` (rows, 4), left, top, right, bottom."""

    name = "boxes"
    totals = ("boxes",)
    columns: Mapping[str, Column] = {"boxes": Column("Boxes a picture", False, 0.0)}
    nearly = 0.0
    invariant = False

    def prepare(self, targets: Iterable[Any], where: str) -> Facts:
        """The largest coordinate."""
        return {"scale": max(float(part["boxes"].values.max(initial=0)) for part in targets)}

    def check(self, target: Any, facts: Facts, where: str) -> None:
        """No box has its right before its left, or its bottom above its top."""
        boxes: Ragged = target["boxes"]
        wrong = np.flatnonzero((boxes.values[:, 2:] < boxes.values[:, :2]).any(axis=1))
        if len(wrong):
            got = boxes.values[wrong[0]].tolist()
            raise DataError(f"{where}: expected boxes left, top, right, bottom, got {got}; sort it")

    def stratify(self, target: Any) -> None:
        """Nothing to stratify by."""

    def strata(self, facts: Facts) -> tuple[str, ...]:
        """None."""
        return ()

    def target(self, facts: Facts) -> Mapping[str, Target]:
        """As the class says."""
        return {"boxes": Target("float32", (4,), ragged=True)}

    def head(self, facts: Facts) -> Head:
        """One box."""
        return Head(4, "linear")

    def loss(self, facts: Facts, compiled: Any) -> Loss:
        """Squared distance of each box's corners, a box weighing 1."""
        from keras import ops

        def loss(batch: Batch, outputs: Tensor) -> tuple[Tensor, Tensor]:
            mask = batch.target["boxes_mask"]
            apart = batch.target["boxes"] / facts["scale"] - outputs[:, None]
            by_box = ops.sum(ops.square(apart), axis=-1)
            return ops.sum(by_box * mask, axis=1), ops.sum(mask, axis=1)

        return loss

    def sums(self, batch: Batch, outputs: Tensor, facts: Facts) -> tuple[Tensor, ...]:
        """How many boxes there are."""
        from keras import ops

        return (ops.sum(batch.target["boxes_mask"]),)

    def figures(self, totals: Mapping[str, float], examples: int) -> dict[str, float]:
        """How many a picture has."""
        return {"boxes": totals["boxes"] / examples}


TASK = Boxes()
