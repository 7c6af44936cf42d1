"""Moving a call's frames over all connections at once, until it is done or has failed."""

import select
import time
from collections.abc import Sequence

from tally.gang.collective import PeerLost
from tally.gang.mesh.alarm import Alarm
from tally.gang.mesh.links import Link, Work

SLOWEST_BYTES_PER_SECOND = 1_000_000
_HUNG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Patience:
    """How long a call may take: some time without a byte, and some in all.

    The second limit ends a peer that lets bytes trickle: time-out + bytes at 1 MB/s.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._began = self._moved = time.monotonic()
        self._bytes = 0

    def moved(self, count: int) -> None:
        """So many bytes went or came."""
        self._bytes += count
        self._moved = time.monotonic()

    def left(self) -> float:
        """Seconds, 0 or less when it is over."""
        in_all = self._began + self._timeout + self._bytes / SLOWEST_BYTES_PER_SECOND
        return min(self._moved + self._timeout, in_all) - time.monotonic()

    def over(self, links: Sequence[Link], work: Work) -> PeerLost:
        """The error that names whom the call waited for."""
        slow = [link for link in links if work.owed(link.peer) or link.pushing(work)]
        came = ", ".join(f"rank {link.peer} ({link.frames} frames came)" for link in slow)
        waited = time.monotonic() - self._began
        return PeerLost(
            f"silent or too slow: {came}; {self._bytes:,} bytes moved in {waited:.1f} s, "
            f"the time-out is {self._timeout:g} s"
        )


def run(links: Sequence[Link], work: Work, alarm: Alarm, timeout_seconds: float) -> None:
    """Send and receive all frames of a call.

    Raises:
        PeerLost: a peer is gone, too slow, or sent what does not belong here.
        Interrupted: the alarm was rung.
    """
    patience = Patience(timeout_seconds)
    alarm.check()
    busy = list(links)
    while busy:
        count = 0
        for link in busy:
            if link.pushing(work):
                count += link.push()
            if link.pulling(work):
                count += link.pull(work)
        if count:
            patience.moved(count)
        busy = [link for link in busy if unfinished(link, work)]
        alarm.check()
        if busy and not count:
            wait(links, work, alarm, patience)
        if patience.left() <= 0:
            raise patience.over(busy, work)


def unfinished(link: Link, work: Work) -> bool:
    """Whether the call still needs this connection."""
    return work.owed(link.peer) or work.sends(link.peer) or link.pushing(work)


def wait(links: Sequence[Link], work: Work, alarm: Alarm, patience: Patience) -> None:
    """Sleep until a byte can move, a peer hangs up, the alarm rings or patience ends."""
    poll = select.poll()
    poll.register(alarm.number, select.POLLIN)
    for link in links:
        events = 0 if link.left else _HUNG_UP
        if link.pushing(work):
            events |= select.POLLOUT
        if link.pulling(work):
            events |= select.POLLIN
        if events:
            poll.register(link.number, events)
    ready = dict(poll.poll(max(0.0, patience.left() * 1000)))
    for link in links:
        if ready.get(link.number, 0) & _HUNG_UP and not link.pulling(work):
            if work.owed(link.peer) and not work.exchanged:
                link.lose("it closed its connection")
            link.check_idle()
