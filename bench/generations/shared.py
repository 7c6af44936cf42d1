"""What outlives a worker's process: its last state, and what it was told, in unnamed memory.

Two slots are written in turn, each with a number and a checksum over everything, so that a process
killed while it writes leaves the other one whole. The memory has no name in any file system: it is
gone with the last process that has it open, however that one ends.
"""

import json
import mmap
import os
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import xxhash

from tally.data.format import Array

_SLOT = struct.Struct("<QQQQ")  # checksum of the rest, number, bytes of JSON, bytes of tensors
_ORDERS = struct.Struct("<QQ")  # the last generation that is to pause, and to be interrupted
_PAUSE, _INTERRUPT = 0, 1
ALIGNMENT_BYTES = 64


class SharedState:
    """The state and the orders, for the agent, the nursery and every child alike."""

    def __init__(self, descriptors: tuple[int, int, int] | None = None) -> None:
        """Make it, or open what another process handed over.

        Args:
            descriptors: as another one's `descriptors`, inherited.
        """
        if descriptors is None:
            made = [os.memfd_create(f"tally-{name}", 0) for name in ("orders", "even", "odd")]
            descriptors = (made[0], made[1], made[2])
            os.ftruncate(descriptors[0], _ORDERS.size)
        self.descriptors = descriptors
        self._orders = mmap.mmap(descriptors[0], _ORDERS.size)

    def order(self, generation: int, *, interrupt: bool = False) -> None:
        """Have the child of a generation pause; or drop what it does."""
        if not self.ordered(generation, interrupt=interrupt):
            word = _INTERRUPT if interrupt else _PAUSE
            struct.pack_into("<Q", self._orders, 8 * word, generation)

    def ordered(self, generation: int, *, interrupt: bool = False) -> bool:
        """Whether `order` was called for this generation or a later one."""
        found = _ORDERS.unpack_from(self._orders)[_INTERRUPT if interrupt else _PAUSE]
        return int(found) >= generation

    def commit(self, state: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        """Keep this state; the one before it stays until this one is whole.

        Args:
            state: what JSON can hold.
            tensors: by name.
        """
        arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        described: dict[str, Any] = {}
        size = 0
        for name, value in arrays.items():
            described[name] = [value.dtype.str, list(np.shape(tensors[name])), size]
            size += -(-value.nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        text = json.dumps({"state": state, "tensors": described}).encode()
        newest = self._newest()
        number = newest[0] + 1 if newest else 1
        begin = _padded(_SLOT.size + len(text))
        descriptor = self.descriptors[1 + number % 2]
        if os.fstat(descriptor).st_size < begin + size:
            os.ftruncate(descriptor, begin + size)
        with mmap.mmap(descriptor, begin + size) as memory:
            _SLOT.pack_into(memory, 0, 0, number, len(text), size)
            memory[_SLOT.size : _SLOT.size + len(text)] = text
            for name, value in arrays.items():
                at = begin + described[name][2]
                memory[at : at + value.nbytes] = value.tobytes()
            struct.pack_into("<Q", memory, 0, _checksum(memory))

    def load(self) -> tuple[dict[str, Any], dict[str, Array]] | None:
        """The newest whole state; the arrays are copies."""
        newest = self._newest()
        if newest is None:
            return None
        number, text, size = newest
        with mmap.mmap(self.descriptors[1 + number % 2], _padded(_SLOT.size + text) + size) as m:
            described = json.loads(m[_SLOT.size : _SLOT.size + text])
            begin = _padded(_SLOT.size + text)
            tensors = {}
            for name, (dtype, shape, at) in described["tensors"].items():
                count = int(np.prod(shape, dtype=np.int64))
                values = np.frombuffer(m, dtype, count, begin + at)
                tensors[name] = values.copy().reshape(shape)
                del values  # a map with a view on it cannot be closed
        return described["state"], tensors

    def close(self) -> None:
        """Let go of it in this process."""
        self._orders.close()
        for descriptor in self.descriptors:
            os.close(descriptor)

    def _newest(self) -> tuple[int, int, int] | None:
        """Number, bytes of JSON and bytes of tensors of the newest slot that is whole."""
        whole = []
        for parity, descriptor in enumerate(self.descriptors[1:]):
            length = os.fstat(descriptor).st_size
            if length < _SLOT.size:
                continue
            with mmap.mmap(descriptor, length) as memory:
                checksum, number, text, size = _SLOT.unpack_from(memory)
                fits = _padded(_SLOT.size + text) + size <= length and number % 2 == parity
                if fits and number and checksum == _checksum(memory):
                    whole.append((number, text, size))
        return max(whole, default=None)


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _checksum(memory: mmap.mmap) -> int:
    _, _, text, size = _SLOT.unpack_from(memory)
    with memoryview(memory) as everything:
        return xxhash.xxh3_64_intdigest(everything[8 : _padded(_SLOT.size + text) + size]) or 1
