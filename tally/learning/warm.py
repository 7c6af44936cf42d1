"""Training that begins with the weights of another: the champion's."""

import tempfile
from pathlib import Path
from typing import Any

from tally.buckets import kept
from tally.errors import DataError
from tally.learning.tensorflow.predict import assign
from tally.storage import Location


def start(model: Any, weights: Location) -> None:
    """Give a model the weights of a file.

    Args:
        model: changed in place.
        weights: a weights.safetensors, here or in a bucket.

    Raises:
        DataError: it is not there, damaged, or another model's.
        RunError: the store does not answer.
    """
    if isinstance(weights, Path):
        assign(model, weights)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / weights.name
        if not kept.fetch(weights, path):
            raise DataError(
                f'{weights}: expected the champion\'s weights, got none; pass SET="start=fresh"'
            )
        assign(model, path)
