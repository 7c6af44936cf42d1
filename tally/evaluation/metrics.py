"""Measures of a classifier on held-out examples: pure, numpy only."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tally.data.format import Array
from tally.errors import DataError

SCHEMA = 1


def classification(
    labels: Array, probabilities: Array, class_names: Sequence[str]
) -> dict[str, Any]:
    """Accuracy, loss, F1 and confusion of predicted probabilities.

    Args:
        labels: int, shape (n,), of 0 … classes - 1.
        probabilities: float, shape (n, classes), rows summing to 1.
        class_names: one a class.

    Returns:
        A document: test_accuracy, test_loss (mean cross-entropy, nats), macro_f1 (mean F1 of the
        classes that occur), count, class_names, confusion (row: true, column: predicted),
        per_class (precision, recall, f1, support).

    Raises:
        DataError: no examples, or shapes that do not agree.
    """
    count, classes = len(labels), len(class_names)
    if count == 0 or probabilities.shape != (count, classes):
        raise DataError(
            f"evaluation: expected probabilities of shape ({count}, {classes}) for one test "
            f"example or more, got {probabilities.shape}; check the model's output layer"
        )
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    right = confusion.diagonal().astype(float)
    support, guessed = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = right / np.maximum(guessed, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + guessed, 1)
    chosen = np.clip(probabilities[np.arange(count), labels].astype(float), 1e-12, 1.0)
    return {
        "schema": SCHEMA,
        "test_accuracy": float(right.sum() / count),
        "test_loss": float(-np.log(chosen).mean()),
        "macro_f1": float(f1[support + guessed > 0].mean()),
        "count": count,
        "class_names": list(class_names),
        "confusion": confusion.tolist(),
        "per_class": [
            {
                "class": name,
                "precision": float(precision[k]),
                "recall": float(recall[k]),
                "f1": float(f1[k]),
                "support": int(support[k]),
            }
            for k, name in enumerate(class_names)
        ],
    }
