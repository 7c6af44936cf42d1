"""A broadcast: frames go from rank to rank in a chain, each passed on as soon as it is proven."""

from collections.abc import Iterator

import numpy as np

from tally.gang.mesh.wire import BROADCAST, Frame, Header, WireError

PIECE_BYTES = 1 << 18
MOST_BYTES = 1 << 36


class Chain:
    """The frames of one broadcast.

    Args:
        rank, world_size: of this worker.
        root: whose data it is; the chain goes up from it and around.
        data: what the root has; None elsewhere.
    """

    def __init__(self, rank: int, world_size: int, root: int, data: memoryview | None) -> None:
        place = (rank - root) % world_size
        self._before = (rank - 1) % world_size if place else None
        self._after = (rank + 1) % world_size if place < world_size - 1 else None
        self.data = data
        self._come = 0 if data is None else len(data)
        self._going = self._pieces()
        self._gone = False

    @property
    def exchanged(self) -> bool:
        """No matter here: frames are read as they come."""
        return False

    def _pieces(self) -> Iterator[Frame | None]:
        """The frames for the next rank; None while one has not come."""
        while self.data is None:
            yield None
        at, extent = 0, len(self.data)
        while at < extent or not extent:
            end = min(at + PIECE_BYTES, extent)
            while self._come < end:
                yield None
            # told before the last one is given: nothing asks this generator again
            self._gone = end == extent
            yield Frame(BROADCAST, 0, extent, self.data[at:end])
            at = end
            if self._gone:
                return

    def outgoing(self, peer: int) -> Frame | None:
        """What came and was not passed on."""
        return next(self._going, None) if peer == self._after else None

    def sends(self, peer: int) -> bool:
        """Whether `peer` is the next of the chain and lacks frames."""
        return peer == self._after and not self._gone

    def owed(self, peer: int) -> bool:
        """Whether `peer` is the one before and frames are missing."""
        return peer == self._before and (self.data is None or self._come < len(self.data))

    def room(self, peer: int) -> bool:
        """There is: the first header says how much it will be."""
        return True

    def guess(self, peer: int) -> None:
        """Nothing: the length comes with the header."""

    def place(self, peer: int, header: Header) -> memoryview:
        """Where the next bytes go; memory is asked for once a length within bounds has come."""
        if header.kind != BROADCAST:
            raise WireError(f"a frame of kind {header.kind} that is not due")
        if header.extent > MOST_BYTES:
            raise WireError(f"a broadcast of {header.extent:,} bytes, at most {MOST_BYTES:,}")
        if self.data is None:
            self.data = np.empty(header.extent, np.uint8).data
        if header.extent != len(self.data):
            raise WireError(f"a broadcast of {header.extent} bytes, expected {len(self.data)}")
        return self.data[self._come : min(self._come + PIECE_BYTES, header.extent)]

    def received(self, peer: int) -> None:
        """So much more has come."""
        assert self.data is not None
        self._come = min(self._come + PIECE_BYTES, len(self.data))
