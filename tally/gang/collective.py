"""What a gang's workers compute together: the interface of its engines.

A generation is one unchanging membership. Every call is made by all of its ranks in the same order;
every one of them gets the same bytes back, or a CollectiveError, within the engine's time-out.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from tally.data.content import Array


class CollectiveError(Exception):
    """The generation cannot go on: nothing of the call that raised it may be used."""


class PeerLost(CollectiveError):
    """A peer is gone, silent beyond the time-out, or sent what no peer of this generation would."""


class Interrupted(CollectiveError):
    """`interrupt` was called: the coordinator knows of a newer generation."""


@dataclass(frozen=True)
class Membership:
    """One generation as one of its workers sees it.

    Attributes:
        generation: its id, from 1; later ones are greater.
        rank: of this worker, from 0.
        addresses: "host:port" of every rank's collective, by rank.
        key: 32 random bytes that only the members of this generation know.
    """

    generation: int
    rank: int
    addresses: tuple[str, ...]
    key: bytes

    @property
    def world_size(self) -> int:
        """How many ranks there are."""
        return len(self.addresses)


class Collective(Protocol):
    """An engine. Not safe for several threads, but for `interrupt`."""

    @property
    def address(self) -> str:
        """Where peers reach this worker, "host:port"; known from the start."""

    def join(self, membership: Membership) -> None:
        """Leave the former generation, connect with all peers of the next.

        Raises:
            CollectiveError: a peer did not come in time; `join` may be called again.
        """

    def all_reduce(self, vector: Any) -> Any:
        """The sum over all ranks, the same bytes on each.

        Args:
            vector: (n,) float32, float64, int32 or int64, an array or a tensor; it may be
                overwritten with the result.
        """

    def fold(self, parts: Array) -> Array:
        """The sum of all ranks' rows, added one after another by rank and row.

        The left fold makes the result the same, bit by bit, however the rows are shared out among
        ranks, also for a lone one.

        Args:
            parts: (rows of this rank, n); ranks may have different numbers of rows, also none.
        """

    def broadcast(self, data: bytes | memoryview | None, root: int) -> memoryview:
        """What `root` has, on every rank; others pass None."""

    def interrupt(self) -> None:
        """Make the call that runs in another thread, or the next one, raise Interrupted.

        `join` of a newer generation clears it.
        """

    def close(self) -> None:
        """Let go of all connections."""
