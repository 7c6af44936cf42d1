"""The ends of steps, appended by many processes to one file; the clock is the machine's."""

import os
import struct
import time
from collections import defaultdict
from pathlib import Path

RECORD = struct.Struct("<QQQQ")  # worker, generation, steps done, nanoseconds
Records = dict[int, dict[int, list[tuple[int, int]]]]


class Trace:
    """Where step ends go: each in one write."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)

    def write(self, worker: str, generation: int, step: int) -> None:
        record = RECORD.pack(int(worker), generation, step, time.monotonic_ns())
        os.write(self._descriptor, record)


def read(path: Path) -> Records:
    """(steps done, nanoseconds) in order, by generation and worker."""
    found: Records = defaultdict(lambda: defaultdict(list))
    data = path.read_bytes()
    for worker, generation, step, at in RECORD.iter_unpack(
        data[: len(data) // RECORD.size * RECORD.size]
    ):
        found[generation][worker].append((step, at))
    return found
