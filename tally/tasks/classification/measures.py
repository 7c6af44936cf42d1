"""Measures of a classifier on held-out examples: pure, numpy only."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tally.errors import DataError
from tally.tasks.classification.intervals import bootstrap
from tally.tasks.task import Array

SCHEMA = 2  # 1 had no intervals, no calibration, no ROC and no candidates
BINS = 15
CURVE = 64  # points of a ROC curve that are kept
CURVES = 20  # classes beyond which only the areas are kept


_Area = tuple[float | None, Array, Array]


class Measured:
    """Labels and probabilities so far; calibration and ROC need all of them."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = class_names
        self._labels: list[Array] = []
        self._probabilities: list[Array] = []

    def add(self, target: Array, answers: Array) -> None:
        """Labels (n,) and probabilities (n, classes)."""
        self._labels.append(target)
        self._probabilities.append(answers)

    def merge(self, other: "Measured") -> None:
        """As tally.tasks.task.Measure."""
        self._labels += other._labels
        self._probabilities += other._probabilities

    def result(self) -> dict[str, Any]:
        """As `classification` makes it."""
        return classification(*self._all(), self._class_names)

    @property
    def records(self) -> Array:
        """bool (n,): whether it is right."""
        labels, probabilities = self._all()
        return np.asarray(probabilities.argmax(axis=1) == labels)

    def _all(self) -> tuple[Array, Array]:
        if not self._labels:
            return np.empty(0, np.int32), np.empty((0, len(self._class_names)))
        return np.concatenate(self._labels), np.concatenate(self._probabilities)


def classification(
    labels: Array, probabilities: Array, class_names: Sequence[str]
) -> dict[str, Any]:
    """All measures of predicted probabilities.

    Args:
        labels: int, shape (n,), of 0 … classes - 1.
        probabilities: float, shape (n, classes), rows summing to 1.
        class_names: one a class.

    Returns:
        A document: test_accuracy, test_loss (mean cross-entropy, nats), macro_f1 (mean F1 of the
        classes that occur), count, class_names, confusion (row: true, column: predicted),
        per_class (precision, recall, f1, support, and auc: None where it has no meaning),
        intervals (95 % of test_accuracy and macro_f1), calibration (error, bins), roc (macro_auc,
        curves by class).

    Raises:
        DataError: no examples, shapes that do not agree, or a probability that is no number.
    """
    count, classes = len(labels), len(class_names)
    _require_probabilities(probabilities, count, classes)
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    occur = confusion.sum(axis=1) + confusion.sum(axis=0) > 0
    chosen = np.clip(probabilities[np.arange(count), labels].astype(float), 1e-12, 1.0)
    areas = _areas(labels, probabilities)
    per_class = _per_class(confusion, areas, class_names)
    f1 = np.array([row["f1"] for row in per_class])
    return {
        "schema": SCHEMA,
        "test_accuracy": float(confusion.diagonal().sum() / count),
        "test_loss": float(-np.log(chosen).mean()),
        "macro_f1": float(f1[occur].mean()),
        "count": count,
        "class_names": list(class_names),
        "confusion": confusion.tolist(),
        "per_class": per_class,
        "intervals": bootstrap(confusion),
        "calibration": calibration(labels, probabilities),
        "roc": _roc(areas, class_names),
    }


def _require_probabilities(probabilities: Array, count: int, classes: int) -> None:
    """Refuse what no measure can be taken of."""
    if count == 0 or probabilities.shape != (count, classes):
        raise DataError(
            f"evaluation: expected probabilities of shape ({count}, {classes}) for one test "
            f"example or more, got {probabilities.shape}; check the model's output layer"
        )
    if not np.isfinite(probabilities).all():
        row = int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])
        raise DataError(
            f"evaluation: expected probabilities, got nan or infinity for test example {row}; "
            "check the model's output layer, and its weights"
        )


def calibration(labels: Array, probabilities: Array) -> dict[str, Any]:
    """How far the model's confidence is from how often it is right.

    Returns:
        error: the mean over examples of |accuracy - confidence| of their bin; bins of equal width:
        confidence and accuracy (None where empty), count.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, eq. 3.
    """
    confidence = probabilities.max(axis=1).astype(float)
    right = probabilities.argmax(axis=1) == labels
    at = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(at, minlength=BINS)
    sums = np.bincount(at, confidence, BINS), np.bincount(at, right, BINS)
    means = [np.divide(s, count, out=np.zeros(BINS), where=count > 0) for s in sums]
    error = float((count * np.abs(means[0] - means[1])).sum() / len(labels))
    bins = [
        {
            "confidence": float(means[0][k]) if count[k] else None,
            "accuracy": float(means[1][k]) if count[k] else None,
            "count": int(count[k]),
        }
        for k in range(BINS)
    ]
    return {"error": error, "bins": bins}


def _per_class(
    confusion: Array, areas: Sequence[_Area], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Precision, recall, F1, support and area of each class."""
    right, support, guessed = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision = right / np.maximum(guessed, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + guessed, 1)
    return [
        {
            "class": name,
            "precision": float(precision[k]),
            "recall": float(recall[k]),
            "f1": float(f1[k]),
            "support": int(support[k]),
            "auc": areas[k][0],
        }
        for k, name in enumerate(class_names)
    ]


def _areas(labels: Array, probabilities: Array) -> list[_Area]:
    """One against the rest, by class: area under the ROC, false and true positive rates."""
    found: list[_Area] = []
    for k in range(probabilities.shape[1]):
        positive = labels == k
        if positive.all() or not positive.any():  # there is nothing to tell it from
            found.append((None, np.empty(0), np.empty(0)))
            continue
        order = np.argsort(-probabilities[:, k], kind="stable")
        score, hit = probabilities[order, k], positive[order]
        last = np.flatnonzero(np.append(np.diff(score) != 0, True))  # ties are one step
        true = np.concatenate([[0.0], np.cumsum(hit)[last] / hit.sum()])
        false = np.concatenate([[0.0], np.cumsum(~hit)[last] / (~hit).sum()])
        found.append((float(np.trapezoid(true, false)), false, true))
    return found


def _roc(
    areas: Sequence[tuple[float | None, Array, Array]], class_names: Sequence[str]
) -> dict[str, Any]:
    known = [area for area, _, _ in areas if area is not None]
    curves = []
    for name, (area, false, true) in zip(class_names, areas, strict=True):
        if area is None or len(class_names) > CURVES:
            continue
        kept = np.unique(np.linspace(0, len(false) - 1, CURVE).round().astype(int))
        curves.append(
            {
                "class": name,
                "false_positive_rate": false[kept].tolist(),
                "true_positive_rate": true[kept].tolist(),
            }
        )
    return {"macro_auc": float(np.mean(known)) if known else None, "curves": curves}
