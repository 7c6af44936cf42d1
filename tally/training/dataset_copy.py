"""A dataset folder brought to where a worker runs: as it is, or streamed from the conductor."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tally.data.shards import verify_shard
from tally.errors import DataError
from tally.storage import disk, exclusive

COORDINATOR = "coordinator:"
TRIES = 2

Fetch = Callable[[str], Iterator[bytes]]


def local_dataset(where: str, fingerprint: str, cache: Path, fetch: Fetch | None) -> Path:
    """A local folder with the dataset, whole and verified.

    Workers of one node share the copy: the first brings it, the others wait for it.

    Args:
        where: a local folder, or "coordinator:".
        fingerprint: of the dataset, which names the copy.
        cache: where copies are kept.
        fetch: streams a file of the conductor's dataset folder.

    Raises:
        DataError: no such folder, or a copy that came damaged twice.
        RunError: the disk is full, or the conductor does not answer.
    """
    if where != COORDINATOR:
        if not (Path(where) / "dataset.json").is_file():
            raise DataError(
                f"{where}: expected the dataset folder that prepare made, got none there; "
                "mount it into the worker, or leave TALLY_STORE out to have it streamed"
            )
        return Path(where)
    assert fetch is not None, "a dataset that is streamed needs a stream"
    folder = cache / fingerprint[:32]
    with disk(folder), exclusive(folder.with_name(f".{folder.name}.lock")):
        if (folder / "dataset.json").is_file():
            return folder
        for attempt in range(TRIES):
            try:
                _copy(folder, fetch)
                return folder
            except DataError:
                if attempt == TRIES - 1:
                    raise
    raise AssertionError("it is returned or raised")


def _copy(folder: Path, fetch: Fetch) -> None:
    """Into a folder beside it, which becomes it once every checksum fits."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # its writer is dead: we hold the lock
    temporary.mkdir(parents=True)
    try:
        _stream(temporary / "dataset.json", fetch("dataset.json"))
        for entry in json.loads((temporary / "dataset.json").read_bytes())["shards"]:
            for part in ("x", "y"):
                name = str(entry[part]["file"])
                if Path(name).is_absolute() or ".." in Path(name).parts:
                    raise DataError(
                        f"{name}: expected a file inside the dataset folder, got one outside; "
                        "run prepare again"
                    )
                _stream(temporary / name, fetch(name))
            verify_shard(temporary, entry)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _stream(path: Path, pieces: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)
