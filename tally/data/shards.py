"""Shards: the pairs of .npy files that hold a split's examples, written once, then mapped."""

import hashlib
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tally.data.content import Array, Meta
from tally.data.reading import reading
from tally.errors import DataError
from tally.tasks import registry

SHARD_BYTES = 64 << 20
_ANEW = "delete the folder {} and run again"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class ShardWriter:
    """Gathers one split's examples into a buffer of at most SHARD_BYTES and writes full shards."""

    folder: Path
    split: str
    meta: Meta
    used: int = 0

    def __post_init__(self) -> None:
        shape, dtype = self.meta.input_shape, np.dtype(self.meta.input_dtype)
        self.capacity = max(1, SHARD_BYTES // max(1, dtype.itemsize * math.prod(shape)))
        self.x = np.empty((self.capacity, *shape), dtype)  # pages are taken only when written
        self.y = np.empty(self.capacity, np.int32)
        self.task = registry.named(self.meta.task)
        self.strata = self.task.strata(self.meta.facts)
        self.by_class = np.zeros(len(self.strata), np.int64)
        self.examples = 0
        self.shards: list[dict[str, Any]] = []

    def add(self, x: Array, y: Array) -> None:
        """Take x (n, *input_shape) and y (n,); DataError if they are not what the meta says."""
        self._check(x, y)
        self.examples += len(x)
        if (strata := self.task.stratify(y)) is not None:
            self.by_class += np.bincount(strata, minlength=len(self.by_class))
        taken = 0
        while taken < len(y):
            count = min(self.capacity - self.used, len(y) - taken)
            self.x[self.used : self.used + count] = x[taken : taken + count]
            self.y[self.used : self.used + count] = y[taken : taken + count]
            self.used += count
            taken += count
            if self.used == self.capacity:
                self.flush()

    def counts(self) -> dict[str, Any]:
        """How many examples there are, and of which stratum."""
        found: dict[str, Any] = {"examples": self.examples}
        return {**found, "by_class": self.by_class.tolist()} if self.strata else found

    def flush(self) -> None:
        """Write what is buffered as one shard."""
        if not self.used:
            return
        shard: dict[str, Any] = {"split": self.split, "examples": self.used}
        for part, values in (("x", self.x), ("y", self.y)):
            name = f"{self.split}-{len(self.shards):05d}-{part}.npy"
            with open(self.folder / name, "wb") as file:
                _write_array(file, values[: self.used])
                file.flush()
                os.fsync(file.fileno())
            path = self.folder / name
            shard[part] = {"file": name, "bytes": path.stat().st_size, "sha256": sha256(path)}
        self.shards.append(shard)
        self.used = 0

    def _check(self, x: Array, y: Array) -> None:
        """Refuse examples that are not what `meta` says, before they reach a shard."""
        meta, where = self.meta, f"{self.meta.name}, {self.split} split"
        if (shape := tuple(x.shape[1:])) != meta.input_shape:
            raise DataError(
                f"{where}: expected examples of shape {meta.input_shape}, got {shape}; "
                "bring all examples to one shape"
            )
        if y.ndim != 1 or y.dtype.kind not in "iu" or len(x) != len(y):
            raise DataError(
                f"{where}: expected one whole-number label an example, got labels {y.dtype} of "
                f"shape {y.shape} for {len(x)} examples; make them integers of shape (examples,)"
            )
        self.task.check(y, meta.facts, where)
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            bad = int(np.argmin(np.isfinite(x).reshape(len(x), -1).all(axis=1)))
            raise DataError(
                f"{where}: expected finite numbers, got NaN or infinity in {self._called(y, bad)}; "
                "remove or fill such examples"
            )
        if meta.kind == "tokens" and x.size and not 0 <= x.min() <= x.max() < len(meta.vocabulary):
            raise DataError(
                f"{where}: expected token ids from 0 to {len(meta.vocabulary) - 1}, got "
                f"{int(x.min()) if x.min() < 0 else int(x.max())}; number the tokens from 0"
            )

    def _called(self, y: Array, row: int) -> str:
        """An example in words, as far as its task has any for it."""
        strata = self.task.stratify(y)
        if strata is None:
            return f"example {self.examples + row}"
        return f"an example labelled {self.strata[int(strata[row])]}"


def _write_array(file: BinaryIO, array: Array) -> None:
    # Not numpy.save: where the disk fills up it raises an OSError that does not say so.
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, header)
    file.write(array.data)


def check_splits(meta: Meta, splits: dict[str, ShardWriter]) -> None:
    """Refuse a split without examples and a stratum without training examples (DataError)."""
    for split, shards in splits.items():
        if not shards.examples:
            enough = " (two a class or more)" if shards.strata else ""
            raise DataError(
                f"{meta.name}: expected examples in the {split} split, got none; "
                f"add examples{enough}"
            )
    train = splits["train"]
    for name, examples in zip(train.strata, train.by_class, strict=True):
        if not examples:
            raise DataError(
                f"{meta.name}: expected training examples of every class, got none of {name}; "
                "add some, or leave the class out (classes are numbered from 0 without gaps)"
            )


@dataclass(frozen=True)
class Shard:
    """One shard, memory-mapped: x (examples, *input_shape) and y int32 (examples,)."""

    x: Array
    y: Array


@dataclass(frozen=True)
class Split:
    """A split as one run of examples over its shards; nothing is read before it is asked for."""

    shards: tuple[Shard, ...]

    @cached_property
    def _starts(self) -> Array:
        return np.cumsum([0, *(len(shard.y) for shard in self.shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def gather(self, indices: Array) -> tuple[Array, Array]:
        """The examples at `indices` (any order, repeats allowed).

        Args:
            indices: int array (n,), each from 0 to len(self) - 1.

        Returns:
            x of shape (n, *input_shape) as stored, y int32 of shape (n,): copies, in that order.

        Raises:
            IndexError: an index beyond the split.
        """
        if len(self.shards) == 1:
            only = self.shards[0]
            return only.x[indices], only.y[indices]
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"indices must be from 0 to {len(self) - 1}, got {indices}")
        shard_of = np.searchsorted(self._starts, indices, side="right") - 1
        x = np.empty((len(indices), *self.shards[0].x.shape[1:]), self.shards[0].x.dtype)
        y = np.empty(len(indices), np.int32)
        for number in np.unique(shard_of):
            here = shard_of == number
            local = indices[here] - self._starts[number]
            x[here] = self.shards[number].x[local]
            y[here] = self.shards[number].y[local]
        return x, y

    def labels(self) -> Array:
        """All labels in order, int32 (len(self),): the only thing read whole, 4 bytes each."""
        return np.concatenate([shard.y for shard in self.shards])


def open_shard(folder: Path, entry: dict[str, Any]) -> Shard:
    """Map one shard that dataset.json describes.

    Raises:
        DataError: a file is missing, of another size, or not an array.
    """
    arrays = []
    for part in ("x", "y"):
        path = folder / entry[part]["file"]
        with reading(path, "a readable shard", _ANEW.format(folder)):
            found = path.stat().st_size
            # asarray: indexing a np.memmap costs several microseconds more than an ndarray
            arrays.append(np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)))
        if found != entry[part]["bytes"] or len(arrays[-1]) != entry["examples"]:
            raise corrupt(path, f"{entry[part]['bytes']} bytes", f"{found}")
    return Shard(*arrays)


def verify_shard(folder: Path, entry: dict[str, Any]) -> None:
    """Compare a shard's checksums with dataset.json's.

    Raises:
        DataError: they differ.
    """
    for part in ("x", "y"):
        path, expected = folder / entry[part]["file"], entry[part]["sha256"]
        if (found := sha256(path)) != expected:
            raise corrupt(path, f"SHA-256 {expected[:16]}…", f"{found[:16]}…")


def corrupt(path: Path, expected: str, got: str) -> DataError:
    """The one line for a file of a dataset that is not as it was written."""
    return DataError(f"{path}: expected {expected}, got {got}; {_ANEW.format(path.parent)}")
