"""Tagging: a tag a token of sentences of any length; a token weighs as much as any other."""

import numpy as np

from tally.tasks.plain import Plain
from tally.tasks.sections import Table
from tally.tasks.task import Column, Head, Headline, Target

LENGTH, WORDS, TAGS = 10, 12, 3


class Tagging(Plain):
    totals = ("right", "tokens")
    columns = {"tagged": Column("Training tokens tagged", True, 1.0)}  # noqa: RUF012
    headline = Headline("test_tagged", "tokens tagged", "Tagged", True, True, "tagged_interval")

    def target(self, facts):
        return {"tags": Target("int32", ragged=True)}

    def head(self, facts):
        return Head(LENGTH * TAGS, "linear", (LENGTH, TAGS))

    def loss(self, facts, compiled):
        from keras import losses, ops

        def loss(batch, outputs):
            tags, mask = batch.target["tags"], batch.target["tags_mask"]
            logits = outputs[:, : ops.shape(tags)[1]]
            by_token = losses.sparse_categorical_crossentropy(tags, logits, from_logits=True)
            return ops.sum(by_token * mask, axis=1), ops.sum(mask, axis=1)

        return loss

    def sums(self, batch, outputs, facts):
        from keras import ops

        tags, mask = batch.target["tags"], batch.target["tags_mask"]
        found = ops.cast(ops.argmax(outputs[:, : ops.shape(tags)[1]], axis=-1), "int32")
        return ops.sum(ops.cast(found == tags, "float32") * mask), ops.sum(mask)

    def figures(self, totals, examples):
        return {"tagged": totals["right"] / totals["tokens"]}

    def decode(self, outputs, facts):
        return outputs.argmax(axis=-1)

    def scores(self, target, answers, facts):
        mask = target["tags_mask"]
        right = (answers[:, : mask.shape[1]] == target["tags"]) * mask
        return np.stack([right.sum(axis=1), mask.sum(axis=1)], axis=1)

    def further(self, records):
        return {"sentences": float((records[:, 0] == records[:, 1]).mean())}

    def sections(self, measures):
        rows = (("without a wrong tag", (measures["sentences"],)),)
        return (Table("Whole sentences", ("Sentences", "Share"), ("share",), rows, 0, "kinds"),)


TASK = Tagging()


def dataset():
    random = np.random.default_rng(0)
    lengths, x = random.integers(1, LENGTH + 1, 120), random.integers(2, WORDS, (120, LENGTH))
    x[np.arange(LENGTH) >= lengths[:, None]] = 0
    tags = [
        (row[:n] + np.append(0, row[: n - 1])) % TAGS for row, n in zip(x, lengths, strict=True)
    ]
    return (x[:90], {"tags": tags[:90]}), (x[90:], {"tags": tags[90:]})


def model():
    import keras
    from keras import layers

    near = layers.Conv1D(24, 3, padding="same", activation="relu")
    words = [keras.Input((LENGTH,), dtype="int32"), layers.Embedding(WORDS, 8)]
    return keras.Sequential([*words, near, layers.Dense(TAGS)])
