"""What a finished training leaves in the model folder."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tally.buckets import kept
from tally.buckets.objects import download, reach, told
from tally.errors import RunError
from tally.learning import checkpoint
from tally.learning.backend import Backend
from tally.learning.checkpoint import WEIGHTS, write_tensors
from tally.learning.position import Position
from tally.storage import Location, atomic_file, disk

SCHEMA = 1
FILES = (WEIGHTS, "model.keras", "training.json")


def write(
    folder: Location, training: Backend, position: Position, say: Callable[[str], None]
) -> None:
    """Write weights.safetensors, model.keras and, last, training.json; each whole or not at all.

    Args:
        folder: made if missing; or a place in a bucket.
        training: trained.
        position: at the end of the last epoch.
        say: told when Keras cannot save a user's model whole: the weights are what counts.

    Raises:
        RunError: the disk is full, or the store does not take it.
    """
    if isinstance(folder, Path):
        _write(folder, training, position, say)
        return
    with tempfile.TemporaryDirectory() as scratch:
        _write(Path(scratch), training, position, say)
        checkpoint.upload(folder, [Path(scratch) / name for name in FILES])


def bring(folder: Location, to: Path) -> None:
    """Copy what `write` left to a local folder.

    Raises:
        RunError: it is not there, the store does not answer, or the disk is full.
    """
    with disk(to):
        to.mkdir(parents=True, exist_ok=True)
        if isinstance(folder, Path):
            for path in (folder / name for name in FILES):
                if path.exists() and path.parent != to:
                    shutil.copy(path, to)
            return
        objects = reach(folder)
        with told(folder, RunError):
            for entry in kept.listed(folder):
                download(objects, entry, to / entry.name.rpartition("/")[2])


def _write(folder: Path, training: Backend, position: Position, say: Callable[[str], None]) -> None:
    prefix = "model/"
    tensors = {n.removeprefix(prefix): v for n, v in training.variables(prefix).items()}
    write_tensors(folder / WEIGHTS, tensors, {"schema": SCHEMA})
    if why := training.save(folder / FILES[1]):
        say(f"{FILES[1]}: expected a model that Keras can save, got {why}; it was left out")
    last = position.history[-1]
    summary = {
        "schema": SCHEMA,
        "epochs": position.epoch,
        "examples_trained": position.examples_trained,
        "seconds": position.seconds,
        "loss": last.loss,
        **last.figures,
        "parameters": training.parameters,
        "missing_activation": training.missing_activation,
        "history": [epoch.as_json() for epoch in position.history],
    }
    with atomic_file(folder / FILES[2]) as file:
        file.write(json.dumps(summary, indent=1).encode())
