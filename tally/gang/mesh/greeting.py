"""A handshake on its way over a connection that must not block."""

import select
import socket
import time

from tally.gang.mesh.handshake import Proven, Refused, Script


class Greeting:
    """One side of a handshake.

    Args:
        connection: non-blocking, perhaps not connected yet.
        script: what to say and to expect.
        seconds: how long it may take.
    """

    def __init__(self, connection: socket.socket, script: Script, seconds: float) -> None:
        self.connection = connection
        self.deadline = time.monotonic() + seconds
        self.spoke = False
        self._script = script
        self._out, self._in, self._wanted = b"", b"", 0
        self._step(None)

    @property
    def events(self) -> int:
        """What poll should wait for."""
        return select.POLLOUT if self._out else select.POLLIN

    def advance(self) -> Proven | None:
        """Do what can be done now; who the other side is, once that is proven.

        Raises:
            Refused: it is no peer.
            OSError: the connection broke.
        """
        try:
            while True:
                if self._out:
                    self._out = self._out[self.connection.send(self._out) :]
                    if not self._out:
                        self._step(None)
                else:
                    self._listen()
        except BlockingIOError:
            return None
        except StopIteration as end:
            proven: Proven = end.value
            return proven

    def _listen(self) -> None:
        # never more than the script asks for: what follows belongs to the link
        data = self.connection.recv(self._wanted - len(self._in))
        if not data:
            raise Refused("it closed the connection")
        self._in += data
        if len(self._in) == self._wanted:
            self.spoke = True
            whole, self._in = self._in, b""
            self._step(whole)

    def _step(self, data: bytes | None) -> None:
        said = next(self._script) if data is None else self._script.send(data)
        if isinstance(said, int):
            self._wanted = said
        else:
            self._out = said
