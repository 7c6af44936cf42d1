"""The sum of all ranks' rows, added one after another by rank and row.

The vector is cut into chunks of columns. A chunk's owner gets every rank's rows of it, adds them in
order, and sends the result to all; while one chunk is added, others are on their way. Between two
ranks, and for a short vector, everyone is owner of every chunk: the same order of additions, so the
same bytes, after one exchange and without a second.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tally.data.format import Array
from tally.gang.mesh.buffers import Slots
from tally.gang.mesh.columns import Columns
from tally.gang.mesh.wire import NOTHING, RESULT, ROW, Frame, Header, WireError

MOST_ROWS = 1 << 16


@dataclass
class Side:
    """What goes to one peer and comes from it.

    Attributes:
        slots: places for its rows.
        frames: of own rows that go to it.
        sends: how many frames are still to go, own rows and results.
        results_in: chunks whose result it owes.
        rows: how many it has, once that is known.
        chunks: how many chunks it owes rows of.
        placed: frames of its rows that have come.
        results_out: chunks whose result waits to be sent.
        came: its rows, in order, until they are added.
        coming: the slot that its next row is read into.
    """

    slots: Slots
    frames: Iterator[Frame]
    sends: int
    results_in: deque[int]
    rows: int | None
    chunks: int
    placed: int = 0
    results_out: deque[int] = field(default_factory=deque)
    came: deque[Array] = field(default_factory=deque)
    coming: Array | None = None

    @property
    def owes_rows(self) -> bool:
        """Whether rows are still to come; one without rows sends empty frames that say so."""
        return self.chunks > 0 and (
            self.rows is None or self.placed < max(1, self.rows) * self.chunks
        )


class Piece(NamedTuple):
    """A chunk of a row, and the slot it lies in, if it is a peer's."""

    values: Array
    slots: Slots | None = None
    slot: Array | None = None

    def release(self) -> None:
        """Its values are used."""
        if self.slots is not None and self.slot is not None:
            self.slots.give(self.slot)


class Folding:
    """The frames of one such sum.

    Args:
        rank: of this worker.
        columns: how the vector is cut.
        parts: (rows, n) of this rank, contiguous.
        out: (n,), where the sum is written.
        slots: of each peer, with places of a chunk or more.
        rows: how many every rank has, if that is known.
    """

    def __init__(
        self,
        rank: int,
        columns: Columns,
        parts: Array,
        out: Array,
        slots: dict[int, Slots],
        rows: int | None = None,
    ) -> None:
        self._rank, self._columns, self._parts, self._out = rank, columns, parts, out
        self._mine = columns.owned(rank)
        self._row_bytes = [row.view(np.uint8).data for row in parts]
        self._out_bytes = out.view(np.uint8).data
        self._sides = {peer: self._side(peer, places, rows) for peer, places in slots.items()}
        self._adding = self._add_all()
        next(self._adding, None)

    @property
    def exchanged(self) -> bool:
        """Where everyone adds everything, nobody waits for what this rank makes of the rows."""
        return self._columns.everyone

    def _side(self, peer: int, slots: Slots, rows: int | None) -> Side:
        slots.reset()
        theirs = self._columns.owned(peer)
        results = not self._columns.everyone
        return Side(
            slots,
            self._frames(theirs),
            sends=len(theirs) * max(1, len(self._parts)) + results * len(self._mine),
            results_in=deque(theirs if results else ()),
            rows=rows,
            chunks=len(self._mine),
        )

    def _bytes(self, chunk: int) -> slice:
        start, stop = self._columns.span(chunk)
        size = self._out.itemsize
        return slice(start * size, stop * size)

    def _frames(self, chunks: range) -> Iterator[Frame]:
        """Own rows of these chunks."""
        rows, extent = len(self._parts), self._columns.count
        for chunk in chunks:
            for row in self._row_bytes:
                yield Frame(ROW, rows, extent, row[self._bytes(chunk)])
            if not rows:
                yield Frame(ROW, 0, extent, NOTHING)

    def outgoing(self, peer: int) -> Frame | None:
        """A result that is ready, before own rows: others wait for it."""
        side = self._sides[peer]
        frame: Frame | None
        if side.results_out:
            payload = self._out_bytes[self._bytes(side.results_out.popleft())]
            frame = Frame(RESULT, len(self._parts), self._columns.count, payload)
        else:
            frame = next(side.frames, None)
        side.sends -= frame is not None
        return frame

    def sends(self, peer: int) -> bool:
        """Whether rows or results for `peer` are still to come."""
        return self._sides[peer].sends > 0

    def owed(self, peer: int) -> bool:
        """Whether `peer` owes rows or results."""
        side = self._sides[peer]
        return side.owes_rows or bool(side.results_in)

    def room(self, peer: int) -> bool:
        """Whether a slot is free, where rows may come.

        Waiting for one cannot end in a circle: the row whose turn it is comes from a rank none of
        whose slots is taken, and rows go out whatever else waits.
        """
        side = self._sides[peer]
        return side.slots.free or not side.owes_rows

    def guess(self, peer: int) -> memoryview | None:
        """The next slot, where only rows come and their number is known."""
        side = self._sides[peer]
        if not self._columns.everyone or not side.rows:
            return None
        return side.slots.peek().data[: self._length(side)]

    def _length(self, side: Side) -> int:
        """Bytes of the row that comes next."""
        if not side.rows:
            return 0
        start, stop = self._columns.span(self._mine[side.placed // side.rows])
        return (stop - start) * self._out.itemsize

    def place(self, peer: int, header: Header) -> memoryview:
        """A slot for a row, the sum's own place for a result."""
        side = self._sides[peer]
        if header.extent != self._columns.count:
            raise WireError(f"a vector of {header.extent}, expected {self._columns.count}")
        if header.kind == RESULT and side.results_in:
            return self._out_bytes[self._bytes(side.results_in[0])]
        if header.kind != ROW or not side.owes_rows:
            raise WireError(f"a frame of kind {header.kind} that is not due")
        if side.rows is None and header.rows <= MOST_ROWS:
            side.rows = header.rows
        if header.rows != side.rows:
            raise WireError(f"a frame of {header.rows} rows, expected {side.rows or MOST_ROWS}")
        side.coming = side.slots.take()
        return side.coming.data[: self._length(side)]

    def received(self, peer: int) -> None:
        """Add what can be added now."""
        side = self._sides[peer]
        if side.coming is None:
            side.results_in.popleft()
            return
        if side.rows:
            side.came.append(side.coming)
        else:
            side.slots.give(side.coming)
        side.coming = None
        side.placed += 1
        next(self._adding, None)

    def _add_all(self) -> Iterator[None]:
        """Add all own chunks; yields while the row whose turn it is has not come."""
        for chunk in self._mine:
            out = self._out[slice(*self._columns.span(chunk))]
            count, first = 0, Piece(out)
            for piece in self._pieces(chunk):
                if piece is None:
                    yield
                    continue
                count += 1
                if count == 1:
                    first = piece
                    continue
                # the first sum goes straight to its place: no copy of the first row
                np.add(first.values if count == 2 else out, piece.values, out=out)
                piece.release()
                if count == 2:
                    first.release()
            if count < 2:
                out[...] = first.values if count else 0
                first.release()
            if not self._columns.everyone:
                for side in self._sides.values():
                    side.results_out.append(chunk)

    def _pieces(self, chunk: int) -> Iterator[Piece | None]:
        """All ranks' rows of a chunk in order; None while one has not come."""
        start, stop = self._columns.span(chunk)
        for rank in range(self._columns.world_size):
            if rank == self._rank:
                yield from (Piece(row[start:stop]) for row in self._parts)
                continue
            side = self._sides[rank]
            while side.rows is None:
                yield None
            for _ in range(side.rows):
                while not side.came:
                    yield None
                slot = side.came.popleft()
                yield Piece(slot.view(self._out.dtype)[: stop - start], side.slots, slot)
