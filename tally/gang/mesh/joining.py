"""Connecting with all peers of a generation: higher ranks connect, lower ones accept.

Strangers cost little: a connection that says nothing, says garbage or cannot prove the key is
dropped, few wait at a time, and none keeps a peer from its turn.
"""

import errno
import select
import socket
import time
from dataclasses import dataclass

from tally.gang.collective import Membership, PeerLost
from tally.gang.mesh import handshake
from tally.gang.mesh.alarm import Alarm
from tally.gang.mesh.greeting import Greeting
from tally.gang.mesh.handshake import Proven, Refused
from tally.gang.mesh.links import Link

STRANGER_SECONDS = 2.0
MOST_STRANGERS = 64
BUFFER_BYTES = 1 << 22
_ACCEPTED_AT_ONCE = 16
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.002, 0.1
_HUNG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR


def listen(host: str, port: int) -> socket.socket:
    """A listener on `host` only."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    listener.setblocking(False)
    return listener


def spoken(listener: socket.socket) -> str:
    """Its address, "host:port"."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass
class Call:
    """Attempts to reach one lower rank.

    Attributes:
        address: (host, port).
        greeting: the attempt that runs.
        retry_at: when the next begins.
        pause_seconds: before the one after that.
        why: the last one failed.
    """

    address: tuple[str, int]
    greeting: Greeting | None = None
    retry_at: float = 0.0
    pause_seconds: float = _FIRST_RETRY_SECONDS
    why: str = "it did not connect"

    def failed(self, error: Exception) -> None:
        """Try again a little later."""
        assert self.greeting is not None
        self.greeting.connection.close()
        self.greeting, self.why = None, str(error)
        self.retry_at = time.monotonic() + self.pause_seconds
        self.pause_seconds = min(2 * self.pause_seconds, _LAST_RETRY_SECONDS)


class Joining:
    """One generation's connections while they are made.

    Args:
        listener: where higher ranks connect.
        membership: the generation.
        timeout_seconds: for all of it.
    """

    def __init__(
        self, listener: socket.socket, membership: Membership, timeout_seconds: float
    ) -> None:
        self._listener, self._membership = listener, membership
        self._timeout = timeout_seconds
        self._deadline = time.monotonic() + timeout_seconds
        self._links: dict[int, Link] = {}
        self._strangers: list[Greeting] = []
        self._calls = {
            rank: Call(_parsed(membership.addresses[rank])) for rank in range(membership.rank)
        }

    def run(self, alarm: Alarm) -> dict[int, Link]:
        """All links, by rank.

        Raises:
            PeerLost: some did not come in time.
            Interrupted: the alarm was rung.
        """
        try:
            while len(self._links) < self._membership.world_size - 1:
                alarm.check()
                self._start_calls()
                ready = self._wait(alarm)
                self._advance(ready)
                if time.monotonic() >= self._deadline:
                    raise self._missing()
            links, self._links = self._links, {}
            return links
        finally:
            self._drop_all()

    def _missing(self) -> PeerLost:
        here, size = self._membership.rank, self._membership.world_size
        absent = [rank for rank in range(size) if rank != here and rank not in self._links]
        why = "; ".join(
            f"rank {rank}: {self._calls[rank].why if rank in self._calls else 'it did not connect'}"
            for rank in absent
        )
        return PeerLost(
            f"generation {self._membership.generation} is not complete after {self._timeout:g} s: "
            f"{why}"
        )

    def _start_calls(self) -> None:
        now = time.monotonic()
        for rank, call in self._calls.items():
            if rank in self._links or call.greeting is not None or now < call.retry_at:
                continue
            family = socket.AF_INET6 if ":" in call.address[0] else socket.AF_INET
            connection = socket.socket(family, socket.SOCK_STREAM)
            _prepare(connection)
            script = handshake.connecting(self._membership, rank)
            call.greeting = Greeting(connection, script, self._deadline - now)
            try:
                code = connection.connect_ex(call.address)
            except OSError as error:  # a name that does not resolve
                call.failed(error)
                continue
            if code not in (0, errno.EINPROGRESS):
                call.failed(OSError(code, errno.errorcode[code]))

    def _wait(self, alarm: Alarm) -> dict[int, int]:
        poll = select.poll()
        poll.register(alarm.number, select.POLLIN)
        poll.register(self._listener.fileno(), select.POLLIN)
        now = time.monotonic()
        until = self._deadline
        for call in self._calls.values():
            if call.greeting is not None:
                poll.register(call.greeting.connection.fileno(), call.greeting.events)
            elif call.retry_at > now:
                until = min(until, call.retry_at)
        for stranger in self._strangers:
            poll.register(stranger.connection.fileno(), stranger.events)
            until = min(until, stranger.deadline)
        for link in self._links.values():
            if not link.left:
                poll.register(link.number, _HUNG_UP)
        # a little more than the rest: poll counts in whole milliseconds
        return dict(poll.poll(max(0.0, until - now) * 1000 + 0.5))

    def _advance(self, ready: dict[int, int]) -> None:
        for rank, link in list(self._links.items()):
            if ready.get(link.number, 0) & _HUNG_UP:
                try:
                    link.check_idle()
                except PeerLost:  # or it gave up and will come again
                    self._links.pop(rank).connection.close()
        for rank, call in self._calls.items():
            if call.greeting is not None and call.greeting.connection.fileno() in ready:
                try:
                    proven = call.greeting.advance()
                except (Refused, OSError) as error:
                    call.failed(error)
                    continue
                if proven is not None:
                    self._links[rank] = _linked(call.greeting, proven)
                    call.greeting = None
        for stranger in self._strangers:
            if stranger.connection.fileno() in ready:
                self._hear(stranger)
        self._strangers = [s for s in self._strangers if s.connection.fileno() >= 0]
        if self._listener.fileno() in ready:
            self._accept()
        self._forget_strangers()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # it is gone already, or there is no descriptor for it
                return
            _prepare(connection)
            seconds = min(STRANGER_SECONDS, self._timeout)
            stranger = Greeting(connection, handshake.accepting(self._membership), seconds)
            self._strangers.append(stranger)
            # a peer has spoken before it is accepted, so it is known from the silent at once
            self._hear(stranger)

    def _hear(self, stranger: Greeting) -> None:
        try:
            proven = stranger.advance()
        except (Refused, OSError):
            stranger.connection.close()
            return
        if proven is not None:
            former = self._links.pop(proven.peer, None)
            if former is not None:
                former.connection.close()
            self._links[proven.peer] = _linked(stranger, proven)
            self._strangers.remove(stranger)

    def _forget_strangers(self) -> None:
        """Those whose time is up, and the longest silent where there are too many."""
        now = time.monotonic()
        living = [s for s in self._strangers if s.connection.fileno() >= 0 and now < s.deadline]
        excess = max(0, len(living) - MOST_STRANGERS)
        out = set(map(id, sorted(living, key=lambda s: s.spoke)[:excess]))
        living = [s for s in living if id(s) not in out]
        for stranger in self._strangers:
            if stranger not in living:
                stranger.connection.close()
        self._strangers = living

    def _drop_all(self) -> None:
        for greeting in [*self._strangers, *(c.greeting for c in self._calls.values())]:
            if greeting is not None:
                greeting.connection.close()
        for link in self._links.values():
            link.connection.close()


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _linked(greeting: Greeting, proven: Proven) -> Link:
    return Link(proven.peer, greeting.connection, proven.seed_in, proven.seed_out)


def _prepare(connection: socket.socket) -> None:
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for side in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, side, BUFFER_BYTES)
