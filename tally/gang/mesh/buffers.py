"""Memory that is kept between calls: fresh pages cost more than the sum that is written to them."""

import sys

import numpy as np

from tally.data.format import Array

# what TensorFlow asks of memory that it takes without a copy; it aborts the process otherwise
ALIGNMENT_BYTES = 64
_KEPT = 3


class Results:
    """Arrays for results, each used again as soon as nobody holds the former result any more."""

    def __init__(self) -> None:
        self._kept: list[Array] = []

    def take(self, count: int, dtype: np.dtype[np.generic]) -> Array:
        """An aligned array of `count` elements that nobody else has."""
        length = count * dtype.itemsize
        for position in range(len(self._kept)):
            # the list's reference and the call's own: a view, a tensor or a memoryview adds one
            free = sys.getrefcount(self._kept[position]) == 2
            if free and length <= self._kept[position].nbytes - ALIGNMENT_BYTES <= 2 * length:
                base = self._kept.pop(position)
                break
        else:
            base = np.empty(length + ALIGNMENT_BYTES, np.uint8)
        self._kept = [base, *self._kept[: _KEPT - 1]]
        start = -base.ctypes.data % ALIGNMENT_BYTES
        return base[start : start + length].view(dtype)


class Slots:
    """Places for frames that came before their turn; the one used last is taken first."""

    def __init__(self, slot_bytes: int, count: int) -> None:
        self._whole = np.empty((count, slot_bytes), np.uint8)
        self.reset()

    def reset(self) -> None:
        """All are free; what they held is forgotten."""
        self._free = list(self._whole)

    @property
    def free(self) -> bool:
        """Whether there is one left."""
        return bool(self._free)

    def peek(self) -> Array:
        """The one that `take` gives next."""
        return self._free[-1]

    def take(self) -> Array:
        """One of them, until it is given back."""
        return self._free.pop()

    def give(self, slot: Array) -> None:
        """Have it back."""
        self._free.append(slot)
