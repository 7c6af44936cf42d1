"""Copies of a dataset folder: published to a bucket, and brought whole to a local disk."""

import glob
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally import storage
from tally.buckets import cache, kept
from tally.buckets.objects import RETRY_SECONDS, download, reach, told
from tally.buckets.patience import patiently
from tally.data.format import DESCRIPTION, SCHEMA
from tally.data.shards import files_of, sha256
from tally.errors import DataError, RunError, check_schema
from tally.storage import CloudPath

Get = Callable[[str, Path, int], None]  # a file's name, where to, the most bytes it may have
Progress = Callable[[int, int], None]  # bytes done, bytes in all

DESCRIPTION_BYTES = 64 << 20
PARALLEL = 8
_TRIES = 2
_SHARD_SECONDS = 600.0  # to publish one shard of 64 MiB
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")


@dataclass(frozen=True)
class _Listed:
    """A shard's file as dataset.json lists it."""

    file: str
    bytes: int
    sha256: str


def publish(folder: Path, place: CloudPath) -> None:
    """Copy a dataset folder into a bucket, dataset.json last: where that is, the copy is whole.

    Shards go by names that end in their checksum. So two machines that publish at once, whose
    libraries made other bytes of the same source, do not mix theirs; and a publishing that was
    killed goes on.

    Raises:
        RunError: the store does not take it.
    """
    description = json.loads((folder / DESCRIPTION).read_bytes())
    there = {
        entry.name.rpartition("/")[2]: entry.bytes for entry in kept.listed(place, RETRY_SECONDS)
    }
    if DESCRIPTION in there:
        return
    shards: list[tuple[Path, str]] = []
    for entry in description["shards"]:
        for part in files_of(entry).values():
            old = folder / part["file"]
            ending = f"-{part['sha256'][:16]}{old.suffix}"
            new = old.name if old.name.endswith(ending) else f"{old.stem}{ending}"
            part["file"] = new
            if there.get(new) != part["bytes"]:
                shards.append((old, new))

    def send(shard: tuple[Path, str]) -> None:
        with open(shard[0], "rb") as file:
            kept.put(place, {shard[1]: file}, _SHARD_SECONDS, RETRY_SECONDS)

    with ThreadPoolExecutor(PARALLEL) as pool:
        try:
            list(pool.map(send, shards))
        finally:
            pool.shutdown(cancel_futures=True)
    text = json.dumps(description, indent=1, ensure_ascii=False).encode()
    kept.put(place, {DESCRIPTION: io.BytesIO(text)})


def is_published(place: CloudPath) -> bool:
    """Whether a whole copy is there.

    Raises:
        RunError: the store does not answer, or does not let us.
    """
    with told(place, RunError):
        objects = reach(place)
        return bool(patiently(lambda: objects.find((place / DESCRIPTION).key), RETRY_SECONDS))


def from_bucket(place: CloudPath) -> Get:
    """Files of a published copy.

    Raises:
        RunError: by the function returned: the store does not answer, or a file is missing.
    """

    def get(name: str, path: Path, most_bytes: int) -> None:
        with told(place, RunError):
            objects = reach(place)
            entry = patiently(lambda: objects.find((place / name).key), RETRY_SECONDS)
            if not entry:
                raise _wrong(f"{place}/{name}", "a file of a published dataset", "none")
            if entry.bytes > most_bytes:
                raise _wrong(f"{place}/{name}", f"{most_bytes} bytes", f"{entry.bytes}")
            download(objects, entry, path)

    return get


def bring(
    folder: Path, fingerprint: str, get: Get, parallel: int, progress: Progress | None = None
) -> None:
    """Make `folder` a copy of the dataset with that fingerprint, whole or not at all.

    Of several processes that ask for one folder the first brings it. A copy that lies there is
    used if nothing changed it since, else brought anew; one that comes damaged is fetched again,
    once.

    Args:
        folder: the copy's.
        fingerprint: that its dataset.json must have.
        get: brings one file; "dataset.json" first, then those that it lists.
        parallel: how many files at a time.
        progress: called with bytes done and bytes in all.

    Raises:
        DataError: another dataset, or damaged twice.
        RunError: the disk is full, or `get`'s own.
    """
    with storage.disk(folder), storage.exclusive(folder.with_name(f".{folder.name}.lock")):
        if cache.hold(folder) and _is_whole(folder, fingerprint):
            return
        for attempt in range(_TRIES):
            try:
                _bring(folder, fingerprint, get, parallel, progress)
                return
            except DataError:
                if attempt == _TRIES - 1:
                    raise


def _bring(
    folder: Path, fingerprint: str, get: Get, parallel: int, progress: Progress | None
) -> None:
    """Into a folder beside it, which takes its place once every checksum fits."""
    for stale in folder.parent.glob(f".{glob.escape(folder.name)}.*tmp"):
        shutil.rmtree(stale, ignore_errors=True)  # its writer is dead: we hold the lock
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    cache.hold(temporary)
    try:
        description = temporary / f".{DESCRIPTION}"
        get(DESCRIPTION, description, DESCRIPTION_BYTES)
        shards = _shards(description, fingerprint)
        total, done = sum(shard.bytes for shard in shards), 0
        with ThreadPoolExecutor(parallel) as pool:
            brought = [pool.submit(_bring_shard, temporary, shard, get) for shard in shards]
            try:
                for shard, future in zip(shards, brought, strict=True):
                    future.result()
                    done += shard.bytes
                    if progress:
                        progress(done, total)
            finally:
                pool.shutdown(cancel_futures=True)
        # After its shards: a file that is younger than its dataset.json was changed later.
        with storage.atomic_file(temporary / DESCRIPTION) as file:
            file.write(description.read_bytes())
        description.unlink()
        shutil.rmtree(folder, ignore_errors=True)  # damaged; who has mapped it keeps what it read
        temporary.rename(folder)
        cache.hold(folder)
    finally:
        cache.let_go(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def _bring_shard(folder: Path, shard: _Listed, get: Get) -> None:
    path = folder / shard.file
    get(shard.file, path, shard.bytes)
    if (size := path.stat().st_size) != shard.bytes:
        raise _wrong(path.name, f"{shard.bytes} bytes", f"{size}")
    if (found := sha256(path)) != shard.sha256:
        raise _wrong(path.name, f"SHA-256 {shard.sha256[:16]}…", f"{found[:16]}…")
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _shards(path: Path, fingerprint: str) -> list[_Listed]:
    """What a dataset.json lists, refused where it is not this dataset's or names other places."""
    try:
        description: dict[str, Any] = json.loads(path.read_bytes())
        check_schema(DESCRIPTION, int(description["schema"]), SCHEMA)
        found = str(description["fingerprint"])
        parts = [p for entry in description["shards"] for p in files_of(entry).values()]
        shards = [_Listed(str(p["file"]), int(p["bytes"]), str(p["sha256"])) for p in parts]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _wrong(DESCRIPTION, "a dataset's description", type(error).__name__) from error
    if found != fingerprint:
        raise _wrong(DESCRIPTION, f"the dataset {fingerprint[:16]}…", f"{found[:16]}…")
    for shard in shards:
        if not _NAME.fullmatch(shard.file) or shard.file == DESCRIPTION or shard.bytes < 0:
            raise _wrong(DESCRIPTION, "names of files in the dataset's folder", repr(shard.file))
    if len({shard.file for shard in shards}) != len(shards):
        raise _wrong(DESCRIPTION, "each shard in a file of its own", "two in one")
    return shards


def listed_bytes(path: Path, fingerprint: str) -> int:
    """What the shards that a dataset.json lists take.

    Raises:
        DataError: it is another dataset's, or none.
    """
    return sum(shard.bytes for shard in _shards(path, fingerprint))


def _is_whole(folder: Path, fingerprint: str) -> bool:
    """Whether a copy is the one asked for, and what was touched since it came is unchanged."""
    try:
        shards = _shards(folder / DESCRIPTION, fingerprint)
        came_nanoseconds = (folder / DESCRIPTION).stat().st_mtime_ns
        for shard in shards:
            facts = (folder / shard.file).stat()
            touched = facts.st_mtime_ns > came_nanoseconds
            if facts.st_size != shard.bytes:
                return False
            if touched and sha256(folder / shard.file) != shard.sha256:
                return False
    except (DataError, OSError):
        return False
    return True


def _wrong(what: str, expected: str, got: str) -> DataError:
    return DataError(
        f"{what}: expected {expected}, got {got}; remove that copy of the dataset and run prepare "
        "again"
    )
