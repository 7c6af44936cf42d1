"""A NumPy archive like Keras's mnist.npz: x_train, y_train, x_test, y_test."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from tally.data import arrays
from tally.data.content import Array, Chunk, Content, SplitName
from tally.data.levels import VALIDATION, split_named
from tally.data.reading import reading, rows_a_chunk
from tally.errors import DataError
from tally.spec import Spec

VERSION = 1
OPTIONS: tuple[str, ...] = ()
LAYOUT = "a .npz with x_train, y_train, x_test, y_test"
_SPLITS: tuple[SplitName, ...] = ("train", "test")


def recognises(path: Path) -> bool:
    """A file that ends in .npz."""
    return path.suffix == ".npz" and path.is_file()


def load(path: Path, spec: Spec) -> Content:
    """The archive's examples; members are read as streams, whole ones are never in memory.

    Raises:
        DataError: a member is missing or of another shape, type or count than it should be.
    """
    del spec  # nothing in it shapes these examples
    shapes, types = _members(path)
    where = f"{path}: y_train"
    learnt = arrays.learnt(where, _stream(path, "y_train", 65_536))
    meta = arrays.describe(path.stem, shapes["x_train"], types["x_train"]).learning(*learnt)
    if meta.kind == "tokens":
        parts = (part for s in _SPLITS for part in _stream(path, f"x_{s}", 4096))
        meta = replace(meta, vocabulary=arrays.token_names(str(path), parts))
    dtype = np.dtype(meta.input_dtype)
    rows = rows_a_chunk(dtype.itemsize * int(np.prod(meta.input_shape)))

    def chunks() -> Iterator[Chunk]:
        for split in _SPLITS:
            pairs = zip(
                _stream(path, f"x_{split}", rows), _stream(path, f"y_{split}", rows), strict=True
            )
            for x, y in pairs:
                shaped = x.reshape(len(x), *meta.input_shape).astype(dtype, copy=False)
                yield Chunk(split, shaped, arrays.flat_labels(f"{path}: y_{split}", y))

    examples = sum(shapes[f"x_{split}"][0] for split in _SPLITS)
    return Content(meta, chunks, examples, _validation(path))


def _validation(path: Path) -> dict[str, int]:
    """How many examples of a validation split are left out."""
    with reading(path, LAYOUT), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    named = [name for name in names if name[:2] == "x_" and split_named(name[2:]) == VALIDATION]
    found = {}
    for name in named:
        with _opened(path, name) as (_, shape, _):
            found[f"examples of the validation split {name}"] = shape[0]
    return found


def _members(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, np.dtype[Any]]]:
    """Shape and dtype of the four members, checked to belong together."""
    with reading(path, LAYOUT), zipfile.ZipFile(path) as archive:
        present = {name.removesuffix(".npy") for name in archive.namelist()}
    wanted = [f"{part}_{split}" for split in _SPLITS for part in "xy"]
    if missing := [name for name in wanted if name not in present]:
        raise DataError(
            f"{path}: expected arrays {', '.join(wanted)}, got none named {', '.join(missing)}; "
            "save them with numpy.savez(path, x_train=…, y_train=…, x_test=…, y_test=…)"
        )
    shapes, types = {}, {}
    for name in wanted:
        with _opened(path, name) as (_, shape, dtype):
            shapes[name], types[name] = shape, dtype
    for split in _SPLITS:
        examples, labels = shapes[f"x_{split}"][0], shapes[f"y_{split}"][0]
        if examples != labels:
            raise DataError(
                f"{path}: expected as many labels as examples in the {split} split, got {examples} "
                f"examples and {labels} labels; save matching arrays"
            )
    if (shapes["x_train"][1:], types["x_train"]) != (shapes["x_test"][1:], types["x_test"]):
        raise DataError(
            f"{path}: expected x_train and x_test alike, got {types['x_train']} "
            f"{shapes['x_train'][1:]} and {types['x_test']} {shapes['x_test'][1:]}; convert one"
        )
    return shapes, types


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], "np.dtype[Any]"]]:
    """A member as a stream that stands after its header, its shape and its dtype."""
    with (
        reading(path, f"a whole array {name}"),
        zipfile.ZipFile(path) as archive,
        archive.open(f"{name}.npy") as stream,
    ):
        major = np.lib.format.read_magic(stream)[0]
        read = (
            np.lib.format.read_array_header_1_0
            if major == 1
            else np.lib.format.read_array_header_2_0
        )
        shape, in_columns, dtype = read(stream)
        if not shape or dtype.hasobject or (in_columns and len(shape) > 1):
            raise DataError(
                f"{path}: expected {name} as a plain array in C order, got {dtype} of shape "
                f"{shape}; save numpy.ascontiguousarray({name})"
            )
        yield stream, shape, dtype


def _stream(path: Path, name: str, rows: int) -> Iterator[Array]:
    """A member's rows, `rows` at a time; the archive's checksum is checked at its end."""
    with _opened(path, name) as (stream, shape, dtype):
        bytes_a_row = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        left = shape[0]
        while left:
            count = min(rows, left)
            data = stream.read(count * bytes_a_row)
            if len(data) < count * bytes_a_row:
                raise EOFError(f"its end with {left} rows of {name} to come")
            left -= count
            yield np.frombuffer(data, dtype).reshape(count, *shape[1:])
        if stream.read(1):
            raise ValueError(f"more data than the {shape[0]} rows of {name}")
