"""What heartbeats bring: how often they may come, and each message line exactly once."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tally.gang.coordinator import coordinator_pb2 as pb

REMEMBERED = 4096  # lives; a line can come after its worker's end


@dataclass
class Sender:
    """Who sends heartbeats, from its join on, and past its end.

    Attributes:
        worker: its name.
        nonce: of its process: lines are counted over all its lives.
        heard: false once it was dropped: what a zombie says would mislead.
        sequence: of the newest heartbeat.
        allowed: heartbeats that it may send now; grows with time.
        at_seconds: when `allowed` was right.
    """

    worker: str
    nonce: bytes
    allowed: float
    heard: bool = True
    sequence: int = 0
    at_seconds: float = field(default_factory=time.monotonic)


class Intake:
    """Used under the coordinator's lock."""

    def __init__(self, heartbeats_per_second: float) -> None:
        self._rate = heartbeats_per_second
        self._senders: OrderedDict[bytes, Sender] = OrderedDict()
        self._lines: OrderedDict[bytes, int] = OrderedDict()

    def welcome(self, member: bytes, worker: str, nonce: bytes) -> None:
        """From now on `member` may send."""
        self._senders[member] = Sender(worker, nonce, allowed=self._rate)
        self._lines.setdefault(nonce, 0)
        self._lines.move_to_end(nonce)
        for remembered in (self._senders, self._lines):
            while len(remembered) > REMEMBERED:
                remembered.popitem(last=False)

    def dropped(self, member: bytes) -> None:
        """Its lines are no longer wanted."""
        if member in self._senders:
            self._senders[member].heard = False

    def sender(self, member: bytes) -> Sender | None:
        """Who has this id, if anybody."""
        return self._senders.get(member)

    def floods(self, sender: Sender) -> bool:
        """Whether this heartbeat is one too many."""
        now = time.monotonic()
        grown = sender.allowed + (now - sender.at_seconds) * self._rate
        sender.allowed, sender.at_seconds = min(self._rate, grown), now
        if sender.allowed < 1:
            return True
        sender.allowed -= 1
        return False

    def lines(self, sender: Sender, request: pb.HeartbeatRequest) -> Iterator[bytes]:
        """Those that have not come before, in order; none of who was dropped.

        A process whose connection was cut sends them again under its next id.
        """
        if not sender.heard:
            return
        for number, line in enumerate(request.lines, request.first_line):
            if number == self._lines.get(sender.nonce, 0):
                self._lines[sender.nonce] = number + 1
                yield line

    def received(self, sender: Sender) -> int:
        """How many lines of this process have come."""
        return self._lines.get(sender.nonce, 0)
