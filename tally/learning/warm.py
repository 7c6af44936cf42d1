"""Training that begins with the weights of another: the champion's."""

import tempfile
from pathlib import Path

from tally.buckets import kept
from tally.errors import DataError
from tally.learning.backend import Backend
from tally.storage import Location


def start(training: Backend, weights: Location) -> None:
    """Give a model the weights of a file.

    Args:
        training: its model is changed in place.
        weights: a weights.safetensors, here or in a bucket.

    Raises:
        DataError: it is not there, damaged, or another model's.
        RunError: the store does not answer.
    """
    if isinstance(weights, Path):
        training.start_from(weights)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / weights.name
        if not kept.fetch(weights, path):
            raise DataError(
                f'{weights}: expected the champion\'s weights, got none; pass SET="start=fresh"'
            )
        training.start_from(path)
