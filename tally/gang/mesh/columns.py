"""How a vector is cut into chunks, and which rank adds which; the same on every rank."""

from dataclasses import dataclass

CHUNK_BYTES = 1 << 18
EXCHANGED_BYTES = 1 << 16


@dataclass(frozen=True)
class Columns:
    """How a vector is cut up and who adds what.

    Attributes:
        count: elements of the vector.
        chunk: elements of a chunk, the last may have fewer.
        chunks: how many.
        world_size: ranks.
        everyone: adds all chunks.
    """

    count: int
    chunk: int
    chunks: int
    world_size: int
    everyone: bool

    def span(self, chunk: int) -> tuple[int, int]:
        """A chunk's first column and the one after its last."""
        return chunk * self.chunk, min(self.count, (chunk + 1) * self.chunk)

    def owned(self, rank: int) -> range:
        """The chunks that `rank` adds."""
        return range(self.chunks) if self.everyone else range(rank, self.chunks, self.world_size)


def cut(count: int, itemsize: int, world_size: int) -> Columns:
    """Chunks of at most CHUNK_BYTES, as many for each rank."""
    everyone = world_size <= 2 or count * itemsize <= EXCHANGED_BYTES
    alike = 1 if everyone else world_size
    chunks = alike * max(1, -(-count * itemsize // (CHUNK_BYTES * alike)))
    chunk = max(1, -(-count // chunks))
    return Columns(count, chunk, max(1, -(-count // chunk)), world_size, everyone)
