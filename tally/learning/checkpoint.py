"""Checkpoints: everything a training needs to go on, in one safetensors file.

The file's own metadata says where the training stood and which training it was; a SHA-256 over
both tells a torn or rotten file from a good one. The last two are kept.
"""

import contextlib
import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally.buckets import kept
from tally.data.format import Array
from tally.errors import RunError, SpecError, check_schema
from tally.learning.position import Position
from tally.storage import CloudPath, Location, atomic_file

SCHEMA = (
    4  # 3 counted no steps of a fixed batch, 2 knew no weight of the loss, 1 no batch that changes
)
KEPT = 2
STORE_SECONDS = 30.0  # for an object store to take a checkpoint; or to fail without giving a byte
WEIGHTS = "weights.safetensors"  # of a finished training: those of the model alone
_PATTERN = "checkpoint-*.safetensors"
_PASSES = 3
_PRUNE_SECONDS = 5.0
_ABANDONED_SECONDS = 3600.0  # a file that is still being written after this long, is not


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on.

    Attributes:
        spec: what the weights belong to: dataset (its fingerprint), model, batch_size, seed.
        position: where it stands.
        saved_at_microseconds: on the run's clock.
        tensors: all variables of model and optimiser, by name; C-ordered.
    """

    spec: Mapping[str, str | int]
    position: Position
    saved_at_microseconds: int
    tensors: Mapping[str, Array]


def save(folder: Location, checkpoint: Checkpoint, seconds: float = STORE_SECONDS) -> Location:
    """Write a checkpoint, synced, then let go of all but the one before it.

    In a bucket it is one object, which appears there whole or not at all.

    Args:
        folder: where to; made if missing.
        checkpoint: what to write.
        seconds: that a bucket has to take it, all tries together.

    Raises:
        RunError: the disk is full, or the store does not take it; older ones are untouched.
    """
    position = checkpoint.position
    name = f"checkpoint-{position.epoch:06d}-{position.offset:012d}.safetensors"
    state = {
        "schema": SCHEMA,
        "spec": dict(checkpoint.spec),
        "position": position.as_json(),
        "saved_at_microseconds": checkpoint.saved_at_microseconds,
    }
    if isinstance(folder, Path):
        write_tensors(folder / name, checkpoint.tensors, state)
        _prune(folder, name)
    else:
        kept.put(folder, {name: io.BytesIO(_packed(checkpoint.tensors, state))}, seconds)
        _prune_bucket(folder, name)
    return folder / name


def latest(folder: Location, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole; None where there is none.

    Args:
        folder: where they are kept; need not exist.
        say: told of each newer one that is damaged.

    Raises:
        SchemaError: a newer Tally wrote it.
        RunError: the store does not answer.
    """
    with contextlib.closing(_newest_copies(folder, say)) as copies:
        for path in copies:
            try:
                tensors, state = read_tensors(path)
            except ValueError as error:
                say(_DAMAGED.format(path.name, error))
                if isinstance(folder, Path) and not isinstance(error.__cause__, OSError):
                    with contextlib.suppress(OSError):  # out of the way of those to go on from
                        path.rename(path.with_name(f"{path.name}.damaged"))
                continue
            check_schema(str(path), int(state["schema"]), SCHEMA)
            position = Position.from_json(state["position"])
            return Checkpoint(state["spec"], position, state["saved_at_microseconds"], tensors)
    return None


def require_same(checkpoint: Checkpoint, spec: Mapping[str, str | int], folder: Location) -> None:
    """Refuse a checkpoint that another spec made.

    Raises:
        SpecError: names what differs.
    """
    for name, wanted in spec.items():
        found = checkpoint.spec.get(name)
        if found != wanted:
            raise SpecError(
                f"{folder}: expected a checkpoint of {name} {wanted}, got one of {found}; "
                "resume with the run's own parameters, or submit a new run"
            )


def write_tensors(path: Path, tensors: Mapping[str, Array], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON state as safetensors with a checksum, whole or not at all.

    Args:
        path: of the file.
        tensors: C-ordered arrays by name.
        state: kept beside them.

    Raises:
        RunError: the disk is full.
    """
    with atomic_file(path) as file:
        file.write(_packed(tensors, state))


def _packed(tensors: Mapping[str, Array], state: Mapping[str, Any]) -> bytes:
    import safetensors.numpy

    text = json.dumps(dict(state), sort_keys=True)
    marks = {"state": text, "sha256": _digest(text, tensors)}
    packed: bytes = safetensors.numpy.save(dict(tensors), marks)
    return packed


def read_tensors(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        ValueError: the file is torn or changed; says how.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"an unreadable file ({error})") from error
    text = metadata.get("state", "")
    if metadata.get("sha256") != _digest(text, tensors):
        raise ValueError("another checksum")
    state: dict[str, Any] = json.loads(text)
    return tensors, state


def _digest(text: str, tensors: Mapping[str, Array]) -> str:
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"{name} {value.dtype.str} {value.shape}".encode())
        found.update(value.tobytes())
    return found.hexdigest()


def _newest_first(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(folder.glob(_PATTERN), reverse=True)
    return []


def _prune(folder: Path, name: str) -> None:
    """Let go of what is behind. What lies ahead stays, since this may be the late save of a worker
    that was dropped; and so does what another writes."""
    older = [path for path in _newest_first(folder) if path.name < name]
    for path in older[KEPT - 1 :]:
        path.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):  # another has pruned too
        saved_at = (folder / name).stat().st_mtime  # of the same clock as the others' times
        for left in folder.glob(f".{_PATTERN}.*.tmp"):
            if saved_at - left.stat().st_mtime > _ABANDONED_SECONDS:
                left.unlink(missing_ok=True)


def upload(folder: CloudPath, paths: Sequence[Path]) -> None:
    """Local files to a bucket, one after another; those that do not exist are left out.

    Raises:
        RunError: the store does not take them within STORE_SECONDS.
    """
    with contextlib.ExitStack() as opened:
        files = {p.name: opened.enter_context(open(p, "rb")) for p in paths if p.exists()}
        kept.put(folder, files, STORE_SECONDS)


def _prune_bucket(folder: CloudPath, name: str) -> None:
    with contextlib.suppress(RunError):
        older = [found for found in _names(folder) if found < name]
        kept.drop(folder, older[: 1 - KEPT])


def _names(folder: CloudPath) -> list[str]:
    found = [entry.name.rpartition("/")[2] for entry in kept.listed(folder, _PRUNE_SECONDS)]
    return [name for name in found if Path(name).match(_PATTERN)]


def _newest_copies(folder: Location, say: Callable[[str], None]) -> Generator[Path, None, None]:
    """Local files of the checkpoints, the newest first; copies are gone after the next step."""
    if isinstance(folder, Path):
        yield from _newest_first(folder)
        return
    from tally.buckets.objects import download, reach, told
    from tally.buckets.patience import Damaged, Missing

    for _ in range(_PASSES):
        gone = False
        for entry in reversed(kept.listed(folder, STORE_SECONDS)):
            name = entry.name.rpartition("/")[2]
            if not Path(name).match(_PATTERN):
                continue
            with tempfile.TemporaryDirectory() as scratch, told(folder, RunError):
                try:
                    download(reach(folder), entry, Path(scratch) / name, STORE_SECONDS)
                except Damaged:
                    say(_DAMAGED.format(name, "another checksum"))
                    continue
                except Missing:  # another worker saved a newer one and let go of it meanwhile
                    gone = True
                    continue
                yield Path(scratch) / name
        if not gone:
            return


_DAMAGED = "{}: expected a whole checkpoint, got {}; trying an older one"
