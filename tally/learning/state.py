"""The state of a training as one block of bytes, for those who join; and what it belongs to."""

import hashlib
import json
from pathlib import Path

import safetensors.numpy

from tally.gang.messages import WorkerConfig
from tally.learning.backend import Backend
from tally.learning.position import Position
from tally.userfile import is_user_file


def pack(training: Backend, position: Position) -> bytes:
    """All variables and the position, as safetensors."""
    where = {"position": json.dumps(position.as_json())}
    return safetensors.numpy.save(training.variables(), where)


def unpack(training: Backend, data: bytes) -> Position:
    """Set all variables from `pack`'s bytes; the position they stand at.

    Raises:
        SpecError: they are another model's; nothing was set.
    """
    length = int.from_bytes(data[:8], "little")
    facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["position"])
    training.assign(safetensors.numpy.load(data), "the gang's state")
    return Position.from_json(facts)


def spec(config: WorkerConfig) -> dict[str, str | int]:
    """What checkpoints of this training are marked with: those of another are refused."""
    marks: dict[str, str | int] = {
        "dataset": config.dataset_fingerprint,
        "model": config.model,
        "batch_size": config.batch_size,
        "seed": config.seed,
    }
    if config.deterministic:
        marks["virtual_shards"] = config.virtual_shards
    if is_user_file(config.model) and Path(config.model).is_file():
        # an edited model must not go on from weights of what it was
        marks["model_sha256"] = hashlib.sha256(Path(config.model).read_bytes()).hexdigest()
    return marks
