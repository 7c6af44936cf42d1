"""Files kept for good below a place, and one small file that is swapped: a folder or a bucket."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from tally import storage
from tally.buckets import kept
from tally.storage import CloudPath, Location

UPLOAD_SECONDS = 120.0
_STALE_SECONDS = 86_400.0  # leftovers of a kill that old are cleared


def put(place: Location, files: Mapping[str, Path], last: str, document: bytes) -> None:
    """Keep copies of files, and then a document that says they are complete.

    Args:
        place: of them; nothing is there yet.
        files: by name.
        last: the document's name.
        document: its content.

    Raises:
        RunError: the disk is full, or the store does not take them.
    """
    if isinstance(place, CloudPath):
        with ExitStack() as stack:
            opened: dict[str, IO[bytes]] = {
                name: stack.enter_context(open(path, "rb")) for name, path in files.items()
            }
            kept.put(place, opened, UPLOAD_SECONDS)
        with tempfile.TemporaryFile() as file:
            file.write(document)
            kept.put(place, {last: file}, UPLOAD_SECONDS)
        return
    with storage.disk(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        _clear(place.parent)
        temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=place.parent))
        try:
            for name, path in files.items():
                _copy(path, temporary / name)
            with storage.atomic_file(temporary / last) as file:
                file.write(document)
            temporary.chmod(0o755)
            temporary.rename(place)
            storage.sync_folder(place.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def read(place: Location) -> tuple[bytes, str] | None:
    """A small file, and a token of it for `swap`; None where there is none."""
    if isinstance(place, CloudPath):
        return kept.read(place)
    try:
        content = place.read_bytes()
    except FileNotFoundError:
        return None
    return content, hashlib.sha256(content).hexdigest()


def swap(place: Location, content: bytes, token: str) -> bool:
    """Write a small file if it still is what `read` gave with that token, "" for none.

    Returns:
        Whether it was; where not, nothing has changed.
    """
    if isinstance(place, CloudPath):
        return kept.swap(place, content, token)
    with storage.disk(place), storage.exclusive(place.with_name(f".{place.name}.lock")):
        found = read(place)
        if (found[1] if found else "") != token:
            return False
        with storage.atomic_file(place) as file:
            file.write(content)
        storage.sync_folder(place.parent)
    return True


def bring(place: Location, path: Path) -> bool:
    """Copy a file to `path`; False where there is none."""
    if isinstance(place, CloudPath):
        return kept.fetch(place, path)
    try:
        with storage.disk(path):
            shutil.copyfile(place, path)
    except FileNotFoundError:
        return False
    return True


def below(place: Location) -> set[str]:
    """The names directly below a place: of files and of what has files."""
    if isinstance(place, CloudPath):
        start = len(f"{place.key}/".lstrip("/"))
        return {entry.name[start:].partition("/")[0] for entry in kept.listed(place)}
    try:
        return {path.name for path in place.iterdir() if not path.name.startswith(".")}
    except FileNotFoundError:
        return set()


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as given, open(target, "wb") as copy:
        shutil.copyfileobj(given, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())


def _clear(folder: Path) -> None:
    """Remove what killed writers left long ago."""
    for left in folder.glob(".*.tmp"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
