"""A dataset() of the user's own: arrays, or the name of a source."""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tally.data import arrays
from tally.data.content import Array, Chunk, Content, Meta, SplitName
from tally.data.reading import rows_a_chunk
from tally.errors import DataError, SpecError
from tally.userfile import function

VERSION = 1
Arrays = dict[SplitName, tuple[Array, Array]]
_SPLITS: tuple[SplitName, ...] = ("train", "test")


def check(path: str) -> None:
    """Refuse a file that has no dataset(), without running it: it may import TensorFlow.

    Raises:
        SpecError: no such file, it does not parse, or nothing in it is called dataset.
    """
    try:
        tree = ast.parse(Path(path).read_bytes(), path)
    except (OSError, SyntaxError, ValueError) as error:
        raise SpecError(
            f"{path}: expected a Python file with dataset(), got '{error}'; correct it"
        ) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "dataset":
            return
        if isinstance(node, ast.Name) and node.id == "dataset" and isinstance(node.ctx, ast.Store):
            return
        if isinstance(node, ast.alias) and (node.asname or node.name) in ("dataset", "*"):
            return
    raise SpecError(f"{path}: expected a function dataset(), got none; define it")


def dataset(path: str) -> Arrays | str:
    """What the file's dataset() returns: arrays by split, or the name of a source.

    Raises:
        SpecError: there is no such function, or it fails.
        DataError: it returns something else.
    """
    make = function(path, "dataset")
    try:
        given = make()
    except Exception as error:
        raise SpecError(
            f"{path}: expected dataset() to return a dataset, got {type(error).__name__}: {error}; "
            "correct the function"
        ) from error
    if isinstance(given, str | Path):
        return str(given)
    try:
        (x_train, y_train), (x_test, y_test) = given
        parts = [np.asarray(part) for part in (x_train, y_train, x_test, y_test)]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected dataset() to return ((x_train, y_train), (x_test, y_test)) or the "
            f"name of a source, got {type(given).__name__}; return arrays in that order"
        ) from error
    found: Arrays = {"train": (parts[0], parts[1]), "test": (parts[2], parts[3])}
    for split, (x, y) in found.items():
        if not x.ndim or not y.ndim or len(x) != len(y):
            raise DataError(
                f"{path}: expected a label for each example of the {split} split, got arrays of "
                f"shape {x.shape} and {y.shape}; return matching arrays"
            )
    if (train := found["train"][0]).shape[1:] != (test := found["test"][0]).shape[1:]:
        raise DataError(
            f"{path}: expected x_train and x_test of one shape, got {train.shape[1:]} and "
            f"{test.shape[1:]}; bring them to one"
        )
    return found


def identity(given: Arrays) -> list[Any]:
    """Shapes, types and checksums of the arrays."""
    facts: list[Any] = []
    for array in (part for split in _SPLITS for part in given[split]):
        checksum = hashlib.sha256()
        rows = rows_a_chunk(array.nbytes // max(1, len(array)))
        for start in range(0, len(array), rows):
            checksum.update(np.ascontiguousarray(array[start : start + rows]).data)
        facts.append([list(array.shape), str(array.dtype), checksum.hexdigest()])
    return facts


def load(path: str, given: Arrays) -> Content:
    """The arrays' examples.

    Raises:
        DataError: shapes or types that mean nothing here.
    """
    where = f"{path}: dataset()"
    x_train, y_train = given["train"]
    learnt = arrays.learnt(where, [y_train])
    meta = _describe(path, x_train).learning(*learnt)
    if meta.kind == "tokens":
        vocabulary = arrays.token_names(where, (given[split][0] for split in _SPLITS))
        meta = replace(meta, vocabulary=vocabulary)
    dtype = np.dtype(meta.input_dtype)
    rows = rows_a_chunk(dtype.itemsize * int(np.prod(meta.input_shape)))

    def chunks() -> Iterator[Chunk]:
        for split in _SPLITS:
            x, y = given[split]
            labels = arrays.flat_labels(where, y)
            for start in range(0, len(y), rows):
                part = x[start : start + rows].reshape(-1, *meta.input_shape)
                shaped = part.astype(dtype, copy=False)
                yield Chunk(split, shaped, labels[start : start + rows])

    return Content(meta, chunks, sum(len(given[split][1]) for split in _SPLITS))


def _describe(path: str, x: Array) -> Meta:
    """The meta of the user's own arrays: shapes and values stay what they are.

    Nothing is scaled or given a channel: the model that they are for is the user's, too, and gets
    what Keras's `fit` would give it.
    """
    shape, kind = x.shape[1:], x.dtype.kind
    if kind in "iu" and x.dtype != np.uint8 and len(shape) == 1:
        return Meta(Path(path).stem, "tokens", shape, "int32", 1.0)
    if kind not in "iuf" or not shape:
        raise DataError(
            f"{path}: dataset(): expected numbers of shape (examples, …), got {x.dtype} of shape "
            f"{x.shape}; convert or reshape them"
        )
    stored = "uint8" if x.dtype == np.uint8 else "float32"
    return Meta(Path(path).stem, "image" if len(shape) == 3 else "sequence", shape, stored, 1.0)
