"""How sure a measure is, given how many examples it was measured on: pure, numpy only."""

import numpy as np

from tally.tasks.task import Array, Paired

RESAMPLES = 2_000
_AT_ONCE = 4_000_000  # cells of resampled confusions in memory


def bootstrap(confusion: Array, seed: int = 0) -> dict[str, list[float]]:
    """95 % percentile intervals of accuracy and macro F1 over resamples of the examples.

    An example counts for both only by its true and its predicted class, so drawing n examples anew
    is drawing how many fall into each cell of the confusion: a multinomial.

    Args:
        confusion: int (classes, classes), row: true.
        seed: of the draws.

    Returns:
        test_accuracy and macro_f1, each [low, high].
    """
    random = np.random.default_rng(seed)
    cells = np.flatnonzero(confusion)
    classes, count = len(confusion), int(confusion.sum())
    rows, columns = np.divmod(cells, classes)
    shares = confusion.reshape(-1)[cells] / count
    accuracy, f1 = [], []
    each = max(1, min(RESAMPLES, _AT_ONCE // max(len(cells), classes)))
    for first in range(0, RESAMPLES, each):
        drawn = random.multinomial(count, shares, min(each, RESAMPLES - first))
        diagonal = rows == columns
        accuracy.append(drawn[:, diagonal].sum(axis=1) / count)
        support, guessed = _by(drawn, rows, classes), _by(drawn, columns, classes)
        right = _by(drawn[:, diagonal], rows[diagonal], classes)
        both = support + guessed
        scores = 2 * right / np.maximum(both, 1)
        f1.append(scores.sum(axis=1) / np.maximum((both > 0).sum(axis=1), 1))
    return {
        "test_accuracy": _percentiles(np.concatenate(accuracy)),
        "macro_f1": _percentiles(np.concatenate(f1)),
    }


def _by(drawn: Array, index: Array, classes: int) -> Array:
    """Sums of columns that have the same index: (resamples, classes)."""
    membership = np.zeros((len(index), classes))
    membership[np.arange(len(index)), index] = 1
    return np.asarray(drawn @ membership)


def _percentiles(values: Array) -> list[float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def mcnemar(right: Array, others: Array) -> Paired:
    """One classifier beside another on the same examples: only where they differ it says something.

    If both are equally good, each such example is a fair coin.

    Args:
        right, others: bool (n,), which examples each has right.
    """
    from scipy.stats import binomtest

    gained, lost = int((right & ~others).sum()), int((~right & others).sum())
    p_value = 1.0
    if gained + lost:
        p_value = float(binomtest(gained, gained + lost, alternative="greater").pvalue)
    interval = paired_interval(gained, lost, len(right))
    return Paired((gained - lost) / len(right), interval, p_value)


def paired_interval(gained: int, lost: int, count: int) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same examples.

    Args:
        gained, lost: examples that only the first, or only the second, has right.
        count: of all examples.

    Source: Agresti and Min, Statistics in Medicine 2005: a Wald interval with half an example added
    to each cell, near its nominal cover for small counts too.
    """
    n, b, c = count + 2.0, gained + 0.5, lost + 0.5
    middle = (b - c) / n
    half = 1.959964 * np.sqrt(max((b + c) / n - middle**2, 0.0) / n)
    return max(-1.0, float(middle - half)), min(1.0, float(middle + half))
