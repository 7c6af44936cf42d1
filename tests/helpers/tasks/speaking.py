"""CTC: symbols of recordings of any length; which frames are of which is not known."""

import numpy as np

from tally.tasks.plain import Plain
from tally.tasks.sections import Chart, Mark
from tally.tasks.task import Head, Headline, Target

FRAMES, SYMBOLS, BLANK = 24, 4, 0


class Speaking(Plain):
    headline = Headline("test_cer", "symbol error rate", "Errors", True, False, "cer_interval")

    def target(self, facts):
        """Frames are how many of the input's there are: the rest of it is silence."""
        return {"text": Target("int32", ragged=True), "frames": Target("int32")}

    def head(self, facts):
        return Head(FRAMES * (SYMBOLS + 1), "linear", (FRAMES, SYMBOLS + 1))

    def loss(self, facts, compiled):
        from keras import ops

        def loss(batch, outputs):
            lengths = ops.cast(ops.sum(batch.target["text_mask"], axis=1), "int32")
            text, frames = batch.target["text"], batch.target["frames"]
            lost = ops.ctc_loss(text, outputs, lengths, frames, mask_index=BLANK)
            return lost, ops.cast(lengths, "float32")

        return loss

    def decode(self, outputs, facts):
        return outputs.argmax(axis=-1)

    def scores(self, target, answers, facts):
        lengths = target["text_mask"].sum(axis=1).astype(int)
        rows = zip(target["text"], lengths, answers, target["frames"], strict=True)
        return np.array([(edits(text[:k], collapsed(said[:n])), k) for text, k, said, n in rows])

    def further(self, records):
        return {"lengths": np.unique(records, axis=0).tolist()}

    def sections(self, measures):
        marks = [Mark(n, wrong, f"{wrong:g} of {n:g} wrong") for wrong, n in measures["lengths"]]
        return (Chart("wrong", "Errors by length", "Of each text", "symbols", marks=tuple(marks)),)


TASK = Speaking()


def collapsed(path):
    kept = path[np.append(True, path[1:] != path[:-1])]
    return kept[kept != BLANK].tolist()


def edits(text, said):
    row = [*range(len(said) + 1)]
    for i, symbol in enumerate(text):
        row, above = [i + 1], row
        for j, other in enumerate(said):
            row.append(min(row[-1] + 1, above[j + 1] + 1, above[j] + (symbol != other)))
    return row[-1]


def dataset():
    random = np.random.default_rng(0)
    text = [random.integers(1, SYMBOLS + 1, random.integers(1, 6)) for _ in range(90)]
    held = [np.insert(np.repeat(one, 2), range(0, 2 * len(one) + 1, 2), BLANK) for one in text]
    x = np.stack([np.eye(SYMBOLS + 1)[np.pad(one, (0, FRAMES - len(one)))] for one in held])
    x = (x + random.normal(0, 0.1, x.shape)).astype("f4")
    y = {"text": text, "frames": np.array([len(one) for one in held])}
    return tuple((x[k], {n: each[k] for n, each in y.items()}) for k in (slice(70), slice(70, 90)))


def model():
    from keras import Input, Sequential, layers

    near = layers.Conv1D(16, 3, padding="same", activation="relu")
    return Sequential([Input((FRAMES, SYMBOLS + 1)), near, layers.Dense(SYMBOLS + 1)])
