"""What loaders share: source errors told in one line, and the sizes of chunks."""

import contextlib
import csv
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from tally.data.content import Array, Chunk, SplitName
from tally.errors import DataError

T = TypeVar("T")

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


def require_utf8(path: Path, line: int, text: str) -> None:
    """Refuse a line that was not UTF-8; it was read with errors="surrogateescape".

    Raises:
        DataError: names the line and the first byte.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        got = f"byte 0x{ord(text[error.start]) & 0xFF:02x}"
        raise DataError(
            f"{path}: expected text in UTF-8 in line {line}, got {got}; convert the file "
            "(iconv -f LATIN1 -t UTF-8)"
        ) from error


def rows_a_chunk(bytes_an_example: int) -> int:
    """How many examples to read at a time: about 4 MiB, at least one, at most 4096."""
    return max(1, min(4096, _CHUNK_BYTES // max(1, bytes_an_example)))


def gathered(
    rows: Iterable[tuple[SplitName, int, T]], most: int, together: Callable[[list[T]], Array]
) -> Iterator[Chunk]:
    """Examples that come one by one as chunks of at most `most`, in their order within a split.

    Args:
        rows: split, label and content of each.
        most: examples at a time.
        together: the contents of some as one array (n, *input_shape).
    """
    waiting: dict[SplitName, list[tuple[int, T]]] = {"train": [], "test": []}

    def chunk(split: SplitName) -> Chunk:
        some, waiting[split] = waiting[split], []
        labels = np.array([label for label, _ in some])
        return Chunk(split, together([content for _, content in some]), labels)

    for split, label, content in rows:
        waiting[split].append((label, content))
        if len(waiting[split]) == most:
            yield chunk(split)
    yield from (chunk(split) for split in [s for s, some in waiting.items() if some])


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
