"""Detection with two heads: a map of where boxes are, and the size of the one at each place."""

import numpy as np

from tally.tasks.plain import Plain
from tally.tasks.sections import Table
from tally.tasks.task import Head, Headline, Target

SIDE, CELL, CELLS = 16, 4, 4


class Finding(Plain):
    headline = Headline("test_found", "boxes found", "Found", True, True, "found_interval")

    def prepare(self, targets, where):
        return {"scale": max(float(part["boxes"].values[:, 2:].max()) for part in targets)}

    def target(self, facts):
        """Boxes are the column and row of the middle, width, height, in pixels."""
        return {"heat": Target("float32", (CELLS, CELLS)), "boxes": Target("float32", (4,), True)}

    def head(self, facts):
        return Head(CELLS * CELLS * 3, "linear", (CELLS, CELLS, 3))

    def loss(self, facts, compiled):
        from keras import losses, ops

        def loss(batch, outputs):
            heat, boxes = batch.target["heat"], batch.target["boxes"]
            there = losses.binary_crossentropy(heat[..., None], outputs[..., :1], from_logits=True)
            place = ops.cast(boxes[..., 1] // CELL * CELLS + boxes[..., 0] // CELL, "int32")
            sizes = ops.reshape(outputs[..., 1:], (-1, CELLS * CELLS, 2))
            at = ops.matmul(ops.one_hot(place, CELLS * CELLS), sizes)
            apart = ops.sum(ops.abs(boxes[..., 2:] / facts["scale"] - at), axis=-1)
            mask = batch.target["boxes_mask"]
            lost = ops.sum(there, axis=(1, 2)) + ops.sum(apart * mask, axis=1)
            return lost, ops.sum(mask, axis=1)

        return loss

    def scores(self, target, answers, facts):
        boxes, mask = target["boxes"], target["boxes_mask"]
        column, row = np.moveaxis(boxes[..., :2] // CELL, -1, 0).astype(int)
        at = answers[np.arange(len(boxes))[:, None], row, column]
        near = np.abs(at[..., 1:] * facts["scale"] - boxes[..., 2:]).max(axis=-1) < 2
        return np.stack([((at[..., 0] > 0) & near & (mask > 0)).sum(1), mask.sum(1)], axis=1)

    def further(self, records):
        crowded = records[records[:, 1] > 1]
        return {"crowded": [self.value(crowded), len(crowded)]}

    def sections(self, measures):
        rows, heads = (("several", tuple(measures["crowded"])),), ("Boxes", "Found", "Pictures")
        return (Table("Crowded pictures", heads, ("share", "count"), rows, 0, "kinds"),)


TASK = Finding()


def dataset():
    random, boxes = np.random.default_rng(0), []
    x, heat = np.zeros((90, SIDE, SIDE, 1), "f4"), np.zeros((90, CELLS, CELLS), "f4")
    for k in range(90):
        there = np.argwhere(random.random((CELLS, CELLS)) < 0.15)
        sizes = random.integers(1, CELL + 1, (len(there), 2))
        for (row, column), (width, height) in zip(there * CELL, sizes, strict=True):
            x[k, row : row + height, column : column + width] = 1
            heat[k, row // CELL, column // CELL] = 1
        boxes.append(np.hstack([there[:, ::-1] * CELL + sizes / 2, sizes]).astype("f4"))
    some = [{"heat": heat[part], "boxes": boxes[part]} for part in (slice(70), slice(70, 90))]
    return (x[:70], some[0]), (x[70:], some[1])


def model():
    from keras import Input, Model, layers

    x = Input((SIDE, SIDE, 1))
    seen = layers.Conv2D(16, CELL, strides=CELL, activation="relu")(x)
    heads = [layers.Conv2D(1, 1, name="heat")(seen), layers.Conv2D(2, 1, name="size")(seen)]
    return Model(x, layers.Concatenate()(heads))
