"""One class an example: softmax and cross-entropy, how many are right."""

from collections.abc import Mapping
from typing import Any

from tally.tasks.task import Batch, Facts, Head, Loss, Target, Tensor


class Classification:
    """Labels are whole numbers (n,); what a model gives are probabilities (n, classes)."""

    name = "classification"
    totals = ("correct",)

    def target(self, facts: Facts) -> Target:
        """A label, 0 … classes - 1."""
        return Target("int32")

    def head(self, facts: Facts) -> Head:
        """A probability a class."""
        return Head(len(facts["class_names"]), "softmax")

    def loss(self, facts: Facts, compiled: Any) -> Loss:
        """Cross-entropy, or the compiled model's own loss."""
        by_example = _by_example(compiled, len(facts["class_names"]))
        return lambda batch, outputs: (by_example(batch.target, outputs), None)

    def sums(self, batch: Batch, outputs: Tensor) -> tuple[Tensor, ...]:
        """How many answers are right."""
        from keras import ops

        right = ops.equal(ops.argmax(outputs, axis=-1), batch.target)
        return (ops.sum(ops.cast(right, "int32")),)

    def figures(self, totals: Mapping[str, float], examples: int) -> dict[str, float]:
        """The share of right answers."""
        return {"accuracy": totals["correct"] / examples}


def _by_example(loss: Any, classes: int) -> Any:
    """(labels (n,), probabilities (n, classes)) → loss by example (n,)."""
    import keras
    from keras import ops

    if loss is None:
        return keras.losses.sparse_categorical_crossentropy
    found = keras.losses.get(loss)
    call = found.call if isinstance(found, keras.losses.Loss) else found
    name = str(getattr(found, "name", None) or getattr(found, "__name__", ""))
    packaged = str(call.__module__).startswith("keras.")
    one_hot = packaged and "sparse" not in name  # a loss of the user's own gets plain labels

    def losses(y: Tensor, outputs: Tensor) -> Tensor:
        values = call(ops.one_hot(y, classes) if one_hot else y, outputs)
        return ops.mean(ops.reshape(values, (ops.shape(y)[0], -1)), axis=1)

    return losses


TASK = Classification()
