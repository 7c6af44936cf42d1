"""What loaders share: source errors told in one line, and the sizes of chunks."""

import contextlib
import csv
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from tally.errors import DataError

_CHUNK_BYTES = 4 << 20
_BROKEN = (
    OSError, EOFError, ValueError, SyntaxError, MemoryError, csv.Error, struct.error, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip


@contextlib.contextmanager
def reading(path: Path, expected: str, remedy: str = "replace the file") -> Iterator[None]:
    """Turn whatever a reader raises on a broken file inside the block into one DataError."""
    try:
        yield
    except _BROKEN as error:
        got = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: expected {expected}, got '{got}'; {remedy}") from error


def rows_a_chunk(bytes_an_example: int) -> int:
    """How many examples to read at a time: about 4 MiB, at least one, at most 4096."""
    return max(1, min(4096, _CHUNK_BYTES // max(1, bytes_an_example)))


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted; hidden ones are left out, links are followed once."""
    found: list[Path] = []
    seen: set[Path] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        if (real := here.resolve()) in seen:
            continue
        seen.add(real)
        for entry in here.iterdir():
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                waiting.append(entry)
            elif entry.is_file():
                found.append(entry)
    return sorted(found)


def split_folders(folder: Path) -> dict[str, Path]:
    """`{"train": …, "test": …}` where the folder has both of those levels, else empty."""
    levels = {split: folder / split for split in ("train", "test")}
    return levels if all(level.is_dir() for level in levels.values()) else {}
