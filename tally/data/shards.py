"""Shards: the .npy files that hold a split's examples, written once, then mapped.

One is of x, one of each target's array: `y`, or `y.<name>` of several; a ragged one has its rows'
values there and where each example begins in `y.<name>.offsets`.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tally.data.checks import check_examples
from tally.data.content import Array, Meta
from tally.data.mapped import Shard
from tally.data.reading import reading
from tally.errors import DataError
from tally.tasks import registry
from tally.tasks.targets import Ragged, arrays_of, by_name
from tally.tasks.task import Target

SHARD_BYTES = 64 << 20
_OFFSETS = ".offsets"
_ANEW = "delete the folder {} and run again"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class ShardWriter:
    """Gathers one split's examples into buffers of SHARD_BYTES each and writes full shards."""

    folder: Path
    split: str
    meta: Meta
    used: int = 0

    def __post_init__(self) -> None:
        self.task = registry.named(self.meta.task)
        targets = by_name(self.task.target(self.meta.facts), self.task.name)
        examples = Target(self.meta.input_dtype, self.meta.input_shape)
        arrays = {"x": examples, **{_part(name): each for name, each in targets.items()}}
        self.capacity = min(_capacity(each) for each in arrays.values() if not each.ragged)
        self.buffers: dict[str, _Dense | _Rows] = {
            part: _Rows(each) if each.ragged else _Dense(each, self.capacity)
            for part, each in arrays.items()
        }
        strata = self.task.strata(self.meta.facts)
        self.by_class = np.zeros(len(strata), np.int64)
        self.examples = 0
        self.first: Array | None = None  # while all are equal to it
        self.shards: list[dict[str, Any]] = []

    def add(self, x: Array, y: Any) -> None:
        """Take x (n, *input_shape) and their targets; DataError if they are not the meta's."""
        check_examples(self.meta, f"{self.meta.name}, {self.split} split", x, y)
        if (strata := self.task.stratify(y)) is not None:
            self.by_class += np.bincount(strata, minlength=len(self.by_class))
        self._compare(x)
        given = {"x": x, **{_part(name): each for name, each in arrays_of(y).items()}}
        taken = 0
        while taken < len(x):
            count = min(self.capacity - self.used, len(x) - taken)
            for part, buffer in self.buffers.items():
                buffer.put(self.used, given[part][taken : taken + count])
            self.used += count
            self.examples += count
            taken += count
            if self.used == self.capacity or any(b.is_full for b in self.buffers.values()):
                self.flush()

    def _compare(self, x: Array) -> None:
        if len(x) and (self.first is not None or not self.examples):
            first = x[0].copy() if self.first is None else self.first
            self.first = first if bool((x == first).all()) else None

    def counts(self) -> dict[str, Any]:
        """How many examples there are, and of which stratum."""
        found: dict[str, Any] = {"examples": self.examples}
        return {**found, "by_class": self.by_class.tolist()} if len(self.by_class) else found

    def flush(self) -> None:
        """Write what is buffered as one shard."""
        if not self.used:
            return
        shard: dict[str, Any] = {"split": self.split, "examples": self.used}
        for part, buffer in self.buffers.items():
            for ending, values in buffer.take(self.used).items():
                name = f"{self.split}-{len(self.shards):05d}-{part}{ending}.npy"
                shard[part + ending] = _written(self.folder / name, values)
        self.shards.append(shard)
        self.used = 0


class _Dense:
    """Room for one array of a shard's examples."""

    is_full = False  # that is said by the number of examples

    def __init__(self, target: Target, capacity: int) -> None:
        # pages are taken only when written
        self._values = np.empty((capacity, *target.shape), target.dtype)

    def put(self, place: int, values: Array) -> None:
        self._values[place : place + len(values)] = values

    def take(self, examples: int) -> dict[str, Array]:
        return {"": self._values[:examples]}


class _Rows:
    """The rows of a shard's examples."""

    def __init__(self, target: Target) -> None:
        self._dtype = np.dtype(target.dtype)
        self._parts: list[Ragged] = []

    @property
    def is_full(self) -> bool:
        return sum(part.values.size for part in self._parts) * self._dtype.itemsize >= SHARD_BYTES

    def put(self, place: int, values: Ragged) -> None:
        self._parts.append(values)

    def take(self, examples: int) -> dict[str, Array]:
        parts, self._parts = self._parts, []
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        values = np.concatenate([part.values for part in parts]).astype(self._dtype, copy=False)
        return {"": values, _OFFSETS: np.cumsum([0, *counts], dtype=np.int64)}


def _capacity(target: Target) -> int:
    """How many examples' arrays a shard holds."""
    return max(1, SHARD_BYTES // max(1, np.dtype(target.dtype).itemsize * math.prod(target.shape)))


def _part(name: str) -> str:
    return f"y.{name}" if name else "y"


def _written(path: Path, array: Array) -> dict[str, Any]:
    """What dataset.json has of an array that was written."""
    # Not numpy.save: where the disk fills up it raises an OSError that does not say so.
    with open(path, "wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(array).data)
        file.flush()
        os.fsync(file.fileno())
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def files_of(entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What dataset.json has of each file of a shard, by part: x, y, or y.<name> of several.

    Raises:
        KeyError: no x, or no target.
    """
    parts = [part for part in entry if part.startswith("y.")] or ["y"]
    return {part: entry[part] for part in ("x", *parts)}


def open_shard(folder: Path, entry: dict[str, Any]) -> Shard:
    """Map one shard that dataset.json describes.

    Raises:
        DataError: a file is missing, of another size, or not an array.
    """
    arrays = {part: _mapped(folder, facts) for part, facts in files_of(entry).items()}
    found: dict[str, Any] = {}
    for part, array in arrays.items():
        if part.endswith(_OFFSETS):
            continue
        offsets = arrays.get(part + _OFFSETS)
        each = found[part] = array if offsets is None else Ragged(array, offsets)
        whole = len(each) == entry["examples"] and (offsets is None or offsets[-1] == len(array))
        if not whole:
            path = folder / entry[part]["file"]
            raise corrupt(path, f"{entry['examples']} examples", "others")
    x = found.pop("x")
    if "y" in found:
        return Shard(x, found["y"])
    return Shard(x, {part.removeprefix("y."): each for part, each in found.items()})


def _mapped(folder: Path, facts: dict[str, Any]) -> Array:
    path = folder / facts["file"]
    with reading(path, "a readable shard", _ANEW.format(folder)):
        found = path.stat().st_size
        # asarray: indexing a np.memmap costs several microseconds more than an ndarray
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    if found != facts["bytes"] or not array.ndim:
        raise corrupt(path, f"{facts['bytes']} bytes", f"{found}")
    return array


def verify_shard(folder: Path, entry: dict[str, Any]) -> None:
    """Compare a shard's checksums with dataset.json's.

    Raises:
        DataError: they differ.
    """
    for facts in files_of(entry).values():
        path, expected = folder / facts["file"], facts["sha256"]
        if (found := sha256(path)) != expected:
            raise corrupt(path, f"SHA-256 {expected[:16]}…", f"{found[:16]}…")


def corrupt(path: Path, expected: str, got: str) -> DataError:
    """The one line for a file of a dataset that is not as it was written."""
    return DataError(f"{path}: expected {expected}, got {got}; {_ANEW.format(path.parent)}")
