"""A split's examples as they lie in mapped shards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tally.data.content import Array
from tally.tasks.targets import MASK, Ragged


@dataclass(frozen=True)
class Shard:
    """One shard, memory-mapped: x (examples, *input_shape) and their targets.

    Those are one array, or by name arrays (examples, …) and Ragged ones.
    """

    x: Array
    y: Any


@dataclass(frozen=True)
class Split:
    """A split as one run of examples over its shards; nothing is read before it is asked for."""

    shards: tuple[Shard, ...]

    @cached_property
    def _starts(self) -> Array:
        return np.cumsum([0, *(len(shard.x) for shard in self.shards)])

    @cached_property
    def _targets(self) -> list[Any]:
        """Each shard's, the ragged ones as if they were padded."""
        found = [shard.y for shard in self.shards]
        if not isinstance(found[0], Mapping):
            return found
        names = [name for name, each in found[0].items() if isinstance(each, Ragged)]
        longest = {name: max(1, *(y[name].longest for y in found)) for name in names}
        return [
            {**y}
            | {name: _Padded(y[name], longest[name]) for name in names}
            | {name + MASK: _Mask(y[name], longest[name]) for name in names}
            for y in found
        ]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def gather(self, indices: Array) -> tuple[Array, Any]:
        """The examples at `indices` (any order, repeats allowed).

        Args:
            indices: int array (n,), each from 0 to len(self) - 1.

        Returns:
            x of shape (n, *input_shape) as stored, and the targets as tally.tasks.targets.batched
            lays them out, as long as the longest of the split, and a row at least: so a part of a
            step has one shape, and its sums the same bits, whatever it was cut from. Copies, in
            that order.

        Raises:
            IndexError: an index beyond the split.
        """
        return self._taken([shard.x for shard in self.shards], indices), self._answers(indices)

    def targets(self, begin: int = 0, end: int | None = None) -> Any:
        """The targets of consecutive examples, of all by default: as `gather`, without x.

        A label takes 4 bytes; of larger targets ask for some at a time.
        """
        return self._answers(np.arange(begin, len(self) if end is None else min(end, len(self))))

    def _answers(self, indices: Array) -> Any:
        found = self._targets
        if not isinstance(found[0], Mapping):
            return self._taken(found, indices)
        return {name: self._taken([y[name] for y in found], indices) for name in found[0]}

    def _taken(self, arrays: Sequence[Any], indices: Array) -> Array:
        """Of an array that is in as many parts as there are shards."""
        if len(arrays) == 1:
            return arrays[0][indices]  # type: ignore[no-any-return]
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"indices must be from 0 to {len(self) - 1}, got {indices}")
        shard_of = np.searchsorted(self._starts, indices, side="right") - 1
        found = np.empty((len(indices), *arrays[0].shape[1:]), arrays[0].dtype)
        for number in np.unique(shard_of):
            here = shard_of == number
            found[here] = arrays[number][indices[here] - self._starts[number]]
        return found


class _Mask:
    """Which of an example's rows there are: as an array float32 (n, longest)."""

    def __init__(self, ragged: Ragged, longest: int) -> None:
        self._ragged, self.dtype = ragged, np.dtype(np.float32)
        self.shape: tuple[int, ...] = (len(ragged), longest)

    def __getitem__(self, indices: Array) -> Array:
        return self._there(indices).astype(self.dtype)

    def _there(self, indices: Array) -> Array:
        offsets = self._ragged.offsets
        counts = offsets[1:][indices] - offsets[:-1][indices]
        return np.asarray(np.arange(self.shape[1]) < counts[:, np.newaxis])


class _Padded(_Mask):
    """The rows themselves, zeros behind them: as an array (n, longest, …)."""

    def __init__(self, ragged: Ragged, longest: int) -> None:
        super().__init__(ragged, longest)
        self.shape, self.dtype = (*self.shape, *ragged.values.shape[1:]), ragged.values.dtype

    def __getitem__(self, indices: Array) -> Array:
        found = np.zeros((len(indices), *self.shape[1:]), self.dtype)
        found[self._there(indices)] = self._ragged[indices].values
        return found
