"""IDX files as MNIST and Fashion-MNIST come, e.g. Debian's package dataset-fashion-mnist."""

import gzip
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from tally.data import arrays
from tally.data.content import Array, Chunk, Content, Meta, SplitName
from tally.data.reading import reading, rows_a_chunk
from tally.errors import DataError
from tally.spec import Spec

VERSION = 1
OPTIONS: tuple[str, ...] = ()
LAYOUT = "a folder of IDX files (train-images-idx3-ubyte[.gz], …)"
_PREFIX: dict[SplitName, str] = {"train": "train", "test": "t10k"}
_PARTS = {"images": 3, "labels": 1}


def recognises(path: Path) -> bool:
    """A folder with IDX files of pictures."""
    return path.is_dir() and any(_file(path, split, part) for split in _PREFIX for part in _PARTS)


def _file(folder: Path, split: SplitName, part: str) -> Path | None:
    for prefix in (_PREFIX[split], split):
        for joint in "-.":
            for end in ("", ".gz"):
                file = folder / f"{prefix}-{part}{joint}idx{_PARTS[part]}-ubyte{end}"
                if file.is_file():
                    return file
    return None


def load(path: Path, spec: Spec) -> Content:
    """The pictures (n, height, width) of bytes as (height, width, 1), read as streams.

    Raises:
        DataError: a file is missing, truncated, of another kind, or counts differ.
    """
    del spec  # nothing in it shapes these examples
    files: dict[SplitName, tuple[Path, Path]] = {}
    shapes = {}
    for split in _PREFIX:
        images, labels = (_file(path, split, part) for part in _PARTS)
        if images is None or labels is None:
            missing = f"{_PREFIX[split]}-{'labels-idx1' if images else 'images-idx3'}-ubyte[.gz]"
            raise DataError(
                f"{path}: expected IDX files of pictures and labels for train and t10k, got no "
                f"{missing}; add it"
            )
        files[split] = (images, labels)
        with _opened(images, 3) as (_, shape), _opened(labels, 1) as (_, count):
            shapes[split] = shape
        if shape[0] != count[0]:
            raise DataError(
                f"{labels}: expected as many labels as pictures ({shape[0]}), got {count[0]}; "
                "replace the file that is wrong"
            )
    where = str(files["train"][1])
    learnt = arrays.learnt(where, _stream(files["train"][1], 1, 65_536))
    size = shapes["train"][1:]
    meta = Meta(path.name, "image", (*size, 1), "uint8", 1 / 255).learning(*learnt)
    rows = rows_a_chunk(size[0] * size[1])

    def chunks() -> Iterator[Chunk]:
        for split, (images, labels) in files.items():
            pairs = zip(_stream(images, 3, rows), _stream(labels, 1, rows), strict=True)
            for x, y in pairs:
                yield Chunk(split, x[..., np.newaxis], y)

    return Content(meta, chunks, sum(shape[0] for shape in shapes.values()))


def _bytes_of(file: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(file)) if file.suffix == ".gz" else open(file, "rb")


@contextmanager
def _opened(file: Path, dimensions: int) -> Iterator[tuple[BinaryIO, tuple[int, ...]]]:
    """The file as a stream that stands after its header, and its dimensions."""
    with (
        reading(file, "a whole IDX file of bytes", "replace the file"),
        _bytes_of(file) as stream,
    ):
        magic = stream.read(4)
        if magic != bytes((0, 0, 8, dimensions)):
            raise ValueError(f"first bytes {magic.hex(' ') or 'none'}")
        yield stream, struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))


def _stream(file: Path, dimensions: int, rows: int) -> Iterator[Array]:
    with _opened(file, dimensions) as (stream, shape):
        bytes_a_row = int(np.prod(shape[1:], dtype=np.int64))
        left = shape[0]
        while left:
            count = min(rows, left)
            data = stream.read(count * bytes_a_row)
            if len(data) < count * bytes_a_row:
                raise EOFError(f"its end with {left} of {shape[0]} to come")
            left -= count
            yield np.frombuffer(data, np.uint8).reshape(count, *shape[1:])
        if stream.read(1):  # reading to the end also checks a .gz file's checksum
            raise ValueError(f"more data than its {shape[0]}")
