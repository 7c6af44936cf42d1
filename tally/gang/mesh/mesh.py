"""The engine between CPU workers: one `Mesh` a process, through all its generations."""

from typing import Any

import numpy as np

from tally.data.format import Array
from tally.gang.collective import CollectiveError, Membership, PeerLost
from tally.gang.mesh import pump
from tally.gang.mesh.alarm import Alarm
from tally.gang.mesh.buffers import Results, Slots
from tally.gang.mesh.chain import Chain
from tally.gang.mesh.columns import CHUNK_BYTES, cut
from tally.gang.mesh.folding import Folding
from tally.gang.mesh.joining import Joining, listen, spoken
from tally.gang.mesh.links import Link, Work
from tally.gang.mesh.wire import Call

DTYPES = {np.dtype(name): n + 1 for n, name in enumerate(("<f4", "<f8", "<i4", "<i8"))}
_SLOTS = 4


class Mesh:
    """A Collective (see tally.gang.collective) over TCP.

    Args:
        host: the one address to listen on.
        port: 0 for a free one.
        timeout_seconds: how long a call or a join may go without a byte from who owes one; in all
            it may take that and a second for each megabyte moved.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, timeout_seconds: float = 30.0
    ) -> None:
        self._timeout = timeout_seconds
        self._listener = listen(host, port)
        self._address = spoken(self._listener)
        self._alarm = Alarm()
        self._results = Results()
        self._slots: dict[int, Slots] = {}
        self._links: dict[int, Link] = {}
        self._membership: Membership | None = None
        self._generation = 0
        self._number = 0

    @property
    def address(self) -> str:
        """Where peers reach this worker, "host:port"."""
        return self._address

    def join(self, membership: Membership) -> None:
        """Leave the former generation, connect with all peers of the next.

        Raises:
            CollectiveError: a peer did not come in time, or the generation is older than the last.
        """
        self._alarm.clear()
        self._leave()
        if membership.generation < self._generation:
            raise CollectiveError(
                f"join of generation {membership.generation} after {self._generation}: it is over"
            )
        self._generation, self._number = membership.generation, 0
        self._links = Joining(self._listener, membership, self._timeout).run(self._alarm)
        for peer in self._links:
            self._slots.setdefault(peer, Slots(CHUNK_BYTES, _SLOTS))
        self._membership = membership

    def all_reduce(self, vector: Any) -> Array:
        """The sum over all ranks, the same bytes on each; `vector` itself for a lone rank.

        Args:
            vector: (n,) float32, float64, int32 or int64; a TensorFlow tensor on the CPU is read
                where it lies. The result is aligned, so that TensorFlow takes it by dlpack.
        """
        values = np.ascontiguousarray(vector)
        if values.ndim != 1:
            raise ValueError(f"all_reduce sums vectors, got shape {values.shape}: flatten it")
        if self._member().world_size == 1:
            _code(values)
            return values
        return self._fold(values[np.newaxis], 1)

    def fold(self, parts: Array) -> Array:
        """The sum of all ranks' rows, added one after another by rank and row.

        Args:
            parts: (rows of this rank, n).
        """
        if parts.ndim != 2:
            raise ValueError(f"fold adds the rows of a matrix, got shape {parts.shape}")
        return self._fold(np.ascontiguousarray(parts), None)

    def _fold(self, parts: Array, rows: int | None) -> Array:
        code = _code(parts)
        membership = self._member()
        count = parts.shape[1]
        columns = cut(count, parts.dtype.itemsize, membership.world_size)
        out = self._results.take(count, parts.dtype)
        slots = {peer: self._slots[peer] for peer in self._links}
        self._run(Folding(membership.rank, columns, parts, out, slots, rows), code)
        return out

    def broadcast(self, data: bytes | memoryview | None, root: int) -> memoryview:
        """What `root` has, on every rank; others pass None."""
        membership = self._member()
        if (data is not None) != (membership.rank == root):
            raise ValueError(f"rank {membership.rank} of a broadcast from {root}: only it has data")
        own = None if data is None else memoryview(data).cast("B")
        chain = Chain(membership.rank, membership.world_size, root, own)
        self._run(chain, 0)
        assert chain.data is not None
        return chain.data

    def _member(self) -> Membership:
        self._alarm_check()
        if self._membership is None:
            raise PeerLost("no generation is joined, or the last call failed: join the next one")
        return self._membership

    def _alarm_check(self) -> None:
        try:
            self._alarm.check()
        except CollectiveError:
            self._drop()
            raise

    def _run(self, work: Work, dtype: int) -> None:
        self._number += 1
        call = Call(self._generation, self._number, dtype)
        links = [self._links[peer] for peer in sorted(self._links)]
        for link in links:
            link.begin(call)
        try:
            pump.run(links, work, self._alarm, self._timeout)
        except BaseException:
            # whoever waits for this rank must see at once that it does not go on
            self._drop()
            raise

    def interrupt(self) -> None:
        """Make the call that runs in another thread, or the next one, raise Interrupted."""
        self._alarm.ring()

    def _leave(self) -> None:
        call = Call(self._generation, self._number + 1, 0)
        for link in self._links.values():
            link.say_goodbye(call)
        self._drop()

    def _drop(self) -> None:
        for link in self._links.values():
            link.connection.close()
        self._links, self._membership = {}, None

    def close(self) -> None:
        """Let go of all connections and the listener. Can be repeated."""
        self._leave()
        self._listener.close()
        self._alarm.close()


def _code(values: Array) -> int:
    code = DTYPES.get(values.dtype)
    if code is None:
        raise ValueError(
            f"the mesh adds float32, float64, int32 and int64, got {values.dtype}: convert it"
        )
    return code
