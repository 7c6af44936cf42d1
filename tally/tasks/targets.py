"""Targets as arrays: of some examples, and of a batch.

What is to be answered is one array, or several by name, whose first axis is the examples; of which
an example has any number of rows is Ragged, and padded in a batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tally.errors import SpecError
from tally.tasks.task import Array, Target

MASK = "_mask"


@dataclass(frozen=True)
class Ragged:
    """Rows of some examples, as many as each has.

    Attributes:
        values: (rows of all, …), example after example.
        offsets: int64 (n + 1,): example k has values[offsets[k] : offsets[k + 1]].
    """

    values: Array
    offsets: Array

    @classmethod
    def of(cls, examples: Sequence[Array]) -> "Ragged":
        """Of one example or more, the rows (k, …) of each; k may be 0."""
        import numpy as np

        offsets = np.cumsum([0, *(len(rows) for rows in examples)], dtype=np.int64)
        return cls(np.concatenate(examples), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, which: Any) -> "Ragged":
        """The examples that a slice or an array of indices names: copies."""
        import numpy as np

        begins, ends = self.offsets[:-1][which], self.offsets[1:][which]
        offsets = np.append(0, np.cumsum(ends - begins))
        first = np.repeat(begins - offsets[:-1], ends - begins)
        return Ragged(self.values[first + np.arange(offsets[-1])], offsets)

    @property
    def longest(self) -> int:
        """The most rows that an example has."""
        return int((self.offsets[1:] - self.offsets[:-1]).max(initial=0))


def by_name(target: Target | Mapping[str, Target], task: str) -> dict[str, Target]:
    """A target's arrays; "" is the name of one that has none.

    Raises:
        SpecError: a ragged one without a name, or names that files and batches cannot have.
    """
    found = {"": target} if isinstance(target, Target) else dict(target)
    for name, each in found.items():
        plain = isinstance(target, Target) or (name.isidentifier() and name.isascii())
        if not plain or (each.ragged and (not name or name + MASK in found)):
            raise SpecError(
                f"task {task}: expected targets named by letters, digits and _, a ragged one "
                f"always, and none like it with {MASK}, got '{name}'; choose other names"
            )
    return found


@dataclass(frozen=True)
class BatchArray:
    """One array of a batch: numpy's dtype, and an example's shape: None is the longest's rows."""

    dtype: str
    shape: tuple[int | None, ...]


def batched(target: Target | Mapping[str, Target]) -> Any:
    """The BatchArrays of a target, laid out like it.

    A ragged one is (n, longest, …), zeros after an example's rows; beside it stands a mask by its
    name and `_mask`, float32 (n, longest): 1 for a row, 0 behind the last.
    """
    if isinstance(target, Target):
        return BatchArray(target.dtype, target.shape)
    found = {}
    for name, each in target.items():
        found[name] = BatchArray(each.dtype, (None, *each.shape) if each.ragged else each.shape)
        if each.ragged:
            found[name + MASK] = BatchArray("float32", (None,))
    return found


def arrays_of(target: Any) -> Mapping[str, Any]:
    """A target's arrays by name, "" where it is one without any."""
    return target if isinstance(target, Mapping) else {"": target}


def values_of(array: Any) -> Array:
    """An array's own numbers, ragged or not."""
    return array.values if isinstance(array, Ragged) else array


def rows(target: Any, which: Any) -> Any:
    """Some examples of a target, by a slice or an array of indices, however many arrays it is."""
    if isinstance(target, Mapping):
        return {name: each[which] for name, each in target.items()}
    return target[which]


def size_bytes(target: Any) -> int:
    """What the arrays of a batch's targets take."""
    return sum(int(each.nbytes) for each in arrays_of(target).values())
