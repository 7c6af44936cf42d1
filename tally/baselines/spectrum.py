"""`spectrum`: logistic regression on how loud each band of a recording is, on the average.

The mean and the standard deviation over time of the logarithm of the energy in 40 bands, equally
wide in mel: what is left of a recording when the order of its sounds is lost.
"""

from typing import Any

import numpy as np

from tally.baselines import Answers, share_right
from tally.data.audio import RATE_HZ
from tally.data.format import Array, Dataset, Meta, Split
from tally.errors import DataError

VERSION = 1
BANDS, WINDOW, HOP = 40, 400, 160
STRENGTHS = (0.1, 1.0, 10.0)  # scikit-learn's C
_TOGETHER = 256  # recordings
_SECONDS = 3e-3  # to tune and fit, a recording


def check(meta: Meta) -> None:
    """Say whether the baseline suits a dataset.

    Raises:
        DataError: it has no recordings.
    """
    if meta.kind != "audio":
        raise DataError(
            f"baseline=spectrum: expected recordings, got {meta.kind} in dataset {meta.name}; "
            'pass SET="baseline=" for none'
        )


def usual_seconds(dataset: Dataset) -> float:
    """About what `answers` takes."""
    return _SECONDS * sum(len(split) for split in dataset.splits.values())


def answers(dataset: Dataset) -> Answers:
    """Tune, fit on the training split, and predict the test split."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = (dataset.splits[name] for name in ("train", "test"))
    labels, found = train.targets(), features(train)
    if len(np.unique(labels)) < 2:
        return Answers("the only class there is", np.full(len(test), labels[0]))

    def model(strength: float) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))

    strength = max(STRENGTHS, key=lambda each: share_right(model(each), found, labels))
    predicted = model(strength).fit(found, labels).predict(features(test))
    told = f"logistic regression on the mean spectrum, C = {strength:g}"
    return Answers(told, np.asarray(predicted))


def features(split: Split) -> Array:
    """Mean and standard deviation of each band's loudness: (n, 2 × BANDS)."""
    window, bands = np.hanning(WINDOW), _bands()
    found = []
    for first in range(0, len(split), _TOGETHER):
        rows = np.arange(first, min(first + _TOGETHER, len(split)))
        x = split.gather(rows)[0].astype(np.float32) / 32_768
        frames = np.lib.stride_tricks.sliding_window_view(x, WINDOW, axis=1)[:, ::HOP]
        energy = abs(np.fft.rfft(frames * window, 512, axis=2)) ** 2 @ bands
        loud = np.log(energy + 1e-6)
        loud -= loud.mean(axis=(1, 2), keepdims=True)  # how near the speaker was
        found.append(np.concatenate([loud.mean(axis=1), loud.std(axis=1)], axis=1))
    return np.concatenate(found)


def _bands() -> Array:
    """Triangles from 60 to 7,600 Hz, equally wide in mel: (bins, BANDS)."""
    low, high = 2595 * np.log10(1 + np.array([60, 7_600]) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    hertz = np.linspace(0, RATE_HZ / 2, 257)[:, np.newaxis]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)))
