"""How far the data of a retraining is from the champion's: pure, numpy only."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tally.data.content import Array

FEATURES = 16  # parts of an example that are watched, at most
QUANTILES = 10  # bins of each part, equally full in the champion's data
SAMPLE = 2_000  # examples that a distribution is made of
# Population stability index, as credit scoring reads it: below 0.1 little, from 0.25 on a shift
LITTLE, MUCH = 0.1, 0.25
_EMPTY = 1e-4  # share that an empty bin counts as


def distribution(x: Array, y: Array, classes: int) -> dict[str, Any]:
    """What is kept of a split beside a version, to compare later ones with.

    Args:
        x: examples as stored, (n, …): a sample is enough.
        y: labels of all, int (n,).
        classes: of the dataset; 0, and no labels, where its targets are none.

    Returns:
        labels: share of each class; features: of up to 16 equal parts of an example, the edges of
        ten bins that are equally full and the share in each.
    """
    counts = np.bincount(y, minlength=classes)
    features = []
    for part in _parts(x):
        edges = np.unique(np.quantile(part, np.linspace(0, 1, QUANTILES + 1)[1:-1]))
        features.append({"edges": edges.tolist(), "shares": _shares(part, edges)})
    return {"labels": (counts / max(counts.sum(), 1)).tolist(), "features": features}


def drift(before: Mapping[str, Any], x: Array, y: Array, classes: int) -> dict[str, Any]:
    """The population stability index of labels and features against an earlier distribution.

    Args:
        before: what `distribution` made of the champion's data.
        x, y, classes: of the new data.

    Returns:
        labels, features (the mean over parts), worst_feature (the largest), and `word`: little,
        some or much, by the larger of labels and features; None where shapes do not compare.
    """
    shares = np.bincount(y, minlength=classes) / max(len(y), 1)
    parts = _parts(x)
    if len(before["labels"]) != classes or len(before["features"]) != len(parts):
        return {"labels": None, "features": None, "worst_feature": None, "word": None}
    of_labels = _stability(np.asarray(before["labels"]), shares)
    of_features = [
        _stability(np.asarray(f["shares"]), np.asarray(_shares(part, np.asarray(f["edges"]))))
        for f, part in zip(before["features"], parts, strict=True)
    ]
    features = float(np.mean(of_features))
    larger = max(of_labels, features)
    return {
        "labels": of_labels,
        "features": features,
        "worst_feature": float(max(of_features)),
        "word": "little" if larger < LITTLE else "some" if larger < MUCH else "much",
    }


def _parts(x: Array) -> list[Array]:
    """Means of equal parts of each example, so that few numbers stand for many."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    parts = np.array_split(flat, min(FEATURES, flat.shape[1]), axis=1)
    return [part.mean(axis=1) for part in parts]


def _shares(values: Array, edges: Array) -> list[float]:
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return (counts / max(len(values), 1)).tolist()  # type: ignore[no-any-return]


def _stability(before: Array, now: Array) -> float:
    """Σ (now - before) × ln(now / before)."""
    a, b = np.maximum(before, _EMPTY), np.maximum(now, _EMPTY)
    return float(((b - a) * np.log(b / a)).sum())
