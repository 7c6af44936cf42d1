"""One class an example: softmax and cross-entropy, how many are right."""

from collections.abc import Iterable, Mapping
from typing import Any

from tally.tasks.classification import labels, showing
from tally.tasks.sections import Fact, Section
from tally.tasks.task import (
    Array,
    Batch,
    Column,
    Facts,
    Head,
    Headline,
    Kind,
    Loss,
    Measure,
    Paired,
    Target,
    Tensor,
)


class Classification:
    """Labels are whole numbers (n,); what a model gives are probabilities (n, classes)."""

    name = "classification"
    totals = ("correct",)
    columns: Mapping[str, Column] = {"accuracy": Column("Training accuracy", True, 1.0)}
    reported: Mapping[str, Kind] = {
        "test_accuracy": Kind(share=True, higher_is_better=True),
        "test_loss": Kind(),
        "macro_f1": Kind(share=True, higher_is_better=True),
    }
    nearly = 0.005
    invariant = True
    headline = Headline(
        "test_accuracy",
        "test accuracy",
        "Accuracy",
        share=True,
        higher_is_better=True,
        interval="accuracy_interval",
        usd="usd_per_accuracy_point",
        point="a percentage point of test accuracy",
        short="a point of accuracy",
        word="right",
    )

    def target(self, facts: Facts) -> Target:
        """A label, 0 … classes - 1."""
        return Target("int32")

    def prepare(self, targets: Iterable[Any], where: str) -> Facts:
        """The classes' names: their numbers, where a source tells no others."""
        return {"class_names": labels.names(targets, where)}

    def check(self, target: Any, facts: Facts, where: str) -> None:
        """A class each."""
        labels.check(target, len(facts["class_names"]), where)

    def stratify(self, target: Any) -> Array:
        """By class."""
        import numpy as np

        return np.asarray(target)

    def strata(self, facts: Facts) -> tuple[str, ...]:
        """The classes."""
        return tuple(facts["class_names"])

    def head(self, facts: Facts) -> Head:
        """A probability a class."""
        return Head(len(facts["class_names"]), "softmax")

    def loss(self, facts: Facts, compiled: Any) -> Loss:
        """Cross-entropy, or the compiled model's own loss."""
        by_example = _by_example(compiled, len(facts["class_names"]))
        return lambda batch, outputs: (by_example(batch.target, outputs), None)

    def sums(self, batch: Batch, outputs: Tensor, facts: Facts) -> tuple[Tensor, ...]:
        """How many answers are right."""
        from keras import ops

        right = ops.equal(ops.argmax(outputs, axis=-1), batch.target)
        return (ops.sum(ops.cast(right, "int32")),)

    def figures(self, totals: Mapping[str, float], examples: int) -> dict[str, float]:
        """The share of right answers."""
        return {"accuracy": totals["correct"] / examples}

    def decode(self, outputs: Array, facts: Facts) -> Array:
        """Probabilities, whose rows sum to 1.

        Quantised ones sum to 1 only nearly: each is off by up to half of 1/256. None is negative,
        but in a .tflite that an older Tally made of a model that ends in logits.
        """
        import numpy as np

        if outputs.min(initial=0.0) < 0:
            outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        sums = outputs.sum(axis=1, keepdims=True)
        return np.asarray(outputs / np.where(sums == 0, 1, sums))

    def sure(self, answers: Array, facts: Facts) -> Array:
        """Of a method that says classes, and no probabilities."""
        import numpy as np

        return np.eye(len(facts["class_names"]))[answers]

    def measure(self, facts: Facts) -> Measure:
        """Accuracy, F1, calibration, ROC, the confusion matrix."""
        from tally.tasks.classification.measures import Measured

        return Measured(tuple(facts["class_names"]))

    def value(self, records: Array) -> float:
        """The share of right answers."""
        return float(records.mean())

    def paired(self, records: Array, others: Array) -> Paired:
        """McNemar's exact test: examples that both have right, or wrong, say nothing."""
        from tally.tasks.classification.intervals import mcnemar

        return mcnemar(records.astype(bool), others.astype(bool))

    def row(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        """Accuracy with its interval, macro F1, calibration error."""
        return {
            "test_accuracy": measures["test_accuracy"],
            "accuracy_interval": measures["intervals"]["test_accuracy"],
            "macro_f1": measures["macro_f1"],
            "calibration_error": measures["calibration"]["error"],
        }

    def sentence(self, measures: Mapping[str, Any]) -> str:
        """Accuracy, loss and F1."""
        return showing.sentence(measures)

    def facts(self, measures: Mapping[str, Any]) -> tuple[Fact, ...]:
        """Accuracy, F1, calibration error, area under the ROC."""
        return showing.facts(measures)

    def candidate(self, row: Mapping[str, Any]) -> tuple[Fact, ...]:
        """Accuracy with its interval, F1, calibration error."""
        return showing.candidate(row)

    def sections(self, measures: Mapping[str, Any]) -> tuple[Section, ...]:
        """Calibration, ROC, the confusion matrix, the measures by class."""
        return showing.sections(measures)

    def chart(self, measures: Mapping[str, Any], artifact: Any) -> None:
        """The confusion matrix."""
        artifact.log_confusion_matrix(measures["class_names"], measures["confusion"])


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
