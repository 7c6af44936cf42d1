"""One rank's connection with one peer: frames out, frames in, without ever blocking."""

import contextlib
import socket
from typing import NoReturn, Protocol

from tally.gang.collective import PeerLost
from tally.gang.mesh.wire import (
    GOODBYE,
    HEADER_BYTES,
    NOTHING,
    Call,
    Frame,
    Header,
    WireError,
    pack,
    unpack,
    verify,
)


class Work(Protocol):
    """A call's plan: which frames go to a peer and where those from it belong."""

    @property
    def exchanged(self) -> bool:
        """Whether a peer may be done, and gone, while frames of it still wait to be read here."""

    def outgoing(self, peer: int) -> Frame | None:
        """The next frame for `peer`; None while there is none yet."""

    def sends(self, peer: int) -> bool:
        """Whether frames for `peer` are still to come, now or later."""

    def owed(self, peer: int) -> bool:
        """Whether `peer` still owes frames."""

    def room(self, peer: int) -> bool:
        """Whether the next frame of `peer` has a place to go."""

    def guess(self, peer: int) -> memoryview | None:
        """Where the payload of `peer`'s next frame goes, if that is known before its header."""

    def place(self, peer: int, header: Header) -> memoryview:
        """Where that payload goes; as long as the header says. Raises WireError."""

    def received(self, peer: int) -> None:
        """The payload is in its place, whole and proven."""


class Link:
    """A connection. Frames of a call are counted in both directions.

    Args:
        peer: rank of the other side.
        connection: after its handshake; set to non-blocking.
        seed_in: of the checksums of headers that come.
        seed_out: of those that go.
    """

    def __init__(self, peer: int, connection: socket.socket, seed_in: int, seed_out: int) -> None:
        self.peer = peer
        self.connection = connection
        self.number = connection.fileno()
        self._seed_in, self._seed_out = seed_in, seed_out
        self._head_in = bytearray(HEADER_BYTES)
        self._head_view = memoryview(self._head_in)
        self.begin(Call(0, 0, 0))

    def begin(self, call: Call) -> None:
        """Count the frames of `call` from now on."""
        self._call = call
        self._index_out = self._index_in = 0
        self.left = False
        self._sending: list[memoryview] = []
        self._head_got = 0
        self._header: Header | None = None
        self._payload = self._body = NOTHING

    @property
    def frames(self) -> int:
        """How many began to come in this call."""
        return self._index_in

    def pushing(self, work: Work) -> bool:
        """Whether something is ready to be sent; takes the next frame up if so."""
        if self._sending:
            return True
        frame = work.outgoing(self.peer)
        if frame is None:
            return False
        head = pack(self._call, frame, self._index_out, self._seed_out)
        self._index_out += 1
        self._sending = [memoryview(head), frame.payload]
        return True

    def push(self) -> int:
        """Send what the connection takes of the frame in hand; bytes sent."""
        try:
            sent = left = self.connection.sendmsg(self._sending)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.lose(f"its connection broke ({error.strerror})", error)
        while self._sending and left >= len(self._sending[0]):
            left -= len(self._sending.pop(0))
        if left:
            self._sending[0] = self._sending[0][left:]
        return sent

    def pulling(self, work: Work) -> bool:
        """Whether something may be read now."""
        return self._head_got > 0 or (work.owed(self.peer) and work.room(self.peer))

    def pull(self, work: Work) -> int:
        """Read what has come of one frame; bytes read."""
        try:
            if self._header is None:
                return self._pull_header(work)
            return self._pull_body(work)
        except BlockingIOError:
            return 0
        except WireError as error:
            self.lose(f"it sent {error}", error)
        except OSError as error:
            self.lose(f"its connection broke ({error.strerror})", error)

    def _pull_header(self, work: Work) -> int:
        guess = work.guess(self.peer) if self._head_got == 0 else None
        if guess is None:
            got = self.connection.recv_into(self._head_view[self._head_got :])
        else:
            got = self.connection.recvmsg_into([self._head_in, guess])[0]
        if got == 0:
            self.lose("it closed its connection")
        self._head_got += got
        if self._head_got < HEADER_BYTES:
            return got
        header = unpack(self._head_in, self._call, self._index_in, self._seed_in)
        if header.kind == GOODBYE:
            self.lose("it left")
        self._index_in += 1
        payload = work.place(self.peer, header)
        if len(payload) != header.length:
            raise WireError(f"a payload of {header.length} bytes, expected {len(payload)}")
        self._header, self._payload = header, payload
        self._body = payload[self._head_got - HEADER_BYTES :]
        if not self._body:
            self._finish(work)
        return got

    def _pull_body(self, work: Work) -> int:
        got = self.connection.recv_into(self._body)
        if got == 0:
            self.lose("it closed its connection in the middle of a frame")
        self._body = self._body[got:]
        if not self._body:
            self._finish(work)
        return got

    def _finish(self, work: Work) -> None:
        assert self._header is not None
        verify(self._header, self._payload)
        self._header, self._head_got = None, 0
        work.received(self.peer)

    def check_idle(self) -> None:
        """A peer that hung up while it owes nothing: fine only if it is beyond this call.

        Raises:
            PeerLost: it died; its frames of the next call or a goodbye would lie here otherwise.
        """
        try:
            ahead = self.connection.recv(HEADER_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError as error:
            self.lose(f"its connection broke ({error.strerror})", error)
        if not ahead:
            self.lose("it closed its connection")
        self.left = True

    def say_goodbye(self, call: Call) -> None:
        """Tell the peer, in place of `call`, that this end is on purpose, if there is room."""
        with contextlib.suppress(OSError):
            self.connection.send(pack(call, Frame(GOODBYE, 0, 0, NOTHING), 0, self._seed_out))

    def lose(self, why: str, cause: BaseException | None = None) -> NoReturn:
        """Raise PeerLost for this peer."""
        raise PeerLost(f"rank {self.peer} is lost: {why}") from cause
