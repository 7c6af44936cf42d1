"""What stands between two ranks and does one wrong thing at one message."""

import contextlib
import random
import select
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tally.gang.mesh import wire
from tally.gang.mesh.handshake import _HELLO, NONCE_BYTES, PROOF_BYTES

# bytes of a handshake's messages: from the connecting rank, and to it
GREETING = {"up": [_HELLO.size, PROOF_BYTES], "down": [NONCE_BYTES + PROOF_BYTES, PROOF_BYTES]}
LENGTH_OFFSET = struct.calcsize("<4sBBBxIQQQQ")
Recorded = dict[str, list[bytes]]


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        kind: see `Wire`.
        direction: "up" from the higher rank, or "down".
        message: at which one of that direction, from 0; handshake first.
        middle: within it and not before it.
        seed: of what is random in it.
    """

    kind: str
    direction: str
    message: int
    middle: bool
    seed: int


class Wire:
    """A proxy before the listener of one rank, for the one rank above it that is told of it.

    cut, reset: both sides are closed. half_open: nothing gets through this connection
    any more, either way.
    stall: this direction stops. slow: the rest trickles. late: it comes 50 ms later.
    duplicate: the message comes twice. drop: it never comes. swap: the next one comes before it.
    replay: one recorded in an older generation comes in its place. flip: some bits are others.
    garbage: random bytes come before it. call: `call` is made (which kills or stops a rank).
    """

    def __init__(
        self, address: str, fault: Fault | None, call: Callable[[], None], older: Recorded
    ) -> None:
        host, port = address.split(":")
        self._target = (host, int(port))
        self._fault, self._call, self._older = fault, call, older
        self._listener = socket.create_server((host, 0), backlog=64)
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        self.recorded: Recorded = {"up": [], "down": []}
        self.struck = False
        self._dead = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._calling = threading.Lock()
        self._calm = False
        self._door = threading.Thread(target=self._accept, daemon=True)
        self._door.start()

    def _accept(self) -> None:
        while not self._dead.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, 5)
            except OSError:
                client.close()
                continue
            for connection in (client, server):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets += [client, server]
            silent = threading.Event()
            for direction, source, sink in (("up", client, server), ("down", server, client)):
                args = (direction, source, sink, silent)
                thread = threading.Thread(target=self._carry, args=args, daemon=True)
                thread.start()
                self._threads.append(thread)

    def _carry(
        self, direction: str, source: socket.socket, sink: socket.socket, silent: threading.Event
    ) -> None:
        try:
            number = 0
            while message := self._message(direction, number, source):
                self.recorded[direction].append(message)
                fault = self._fault
                hit = fault and (direction, number) == (fault.direction, fault.message)
                if hit and not self.struck:
                    assert fault is not None
                    self.struck = True
                    self._strike(fault, message, source, sink, silent)
                else:
                    self._give(sink, message, silent)
                number += 1
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # what one side does to its connection, the other side sees
            self._close(source, sink)

    def _message(self, direction: str, number: int, source: socket.socket) -> bytes:
        greeting = GREETING[direction]
        if number < len(greeting):
            return self._exactly(source, greeting[number])
        head = self._exactly(source, wire.HEADER_BYTES)
        if len(head) < wire.HEADER_BYTES:
            return head
        length = struct.unpack_from("<Q", head, LENGTH_OFFSET)[0]
        return head + self._exactly(source, min(length, 1 << 24))

    @staticmethod
    def _exactly(source: socket.socket, count: int) -> bytes:
        got = b""
        while len(got) < count and (part := source.recv(count - len(got))):
            got += part
        return got

    def _give(self, sink: socket.socket, message: bytes, silent: threading.Event) -> None:
        if not silent.is_set():
            sink.sendall(message)

    def _strike(
        self,
        fault: Fault,
        message: bytes,
        source: socket.socket,
        sink: socket.socket,
        silent: threading.Event,
    ) -> None:
        chance = random.Random(fault.seed)
        cut = chance.randrange(1, len(message)) if fault.middle and len(message) > 1 else 0
        before, rest = message[:cut], message[cut:]
        if fault.kind == "swap":
            follower = self._message(fault.direction, max(2, fault.message + 1), source)
            before, rest = b"", follower + message
        self._give(sink, before, silent)
        if fault.kind in ("cut", "reset"):
            self._close(source, sink, reset=fault.kind == "reset")
        elif fault.kind == "half_open":
            silent.set()
        elif fault.kind == "stall":
            self._dead.wait(30)
        elif fault.kind == "slow":
            for at in range(len(rest)):
                if self._dead.wait(0.01):
                    return
                sink.sendall(rest[at : at + 1])
        elif fault.kind == "late":
            self._dead.wait(0.05)
            self._give(sink, rest, silent)
        elif fault.kind == "call":
            with self._calling:
                if not self._calm:
                    self._call()
                self.struck = not self._calm
            self._give(sink, rest, silent)
        else:
            self._give(sink, self._spoilt(fault.kind, message, rest, chance), silent)

    def _spoilt(self, kind: str, message: bytes, rest: bytes, chance: random.Random) -> bytes:
        if kind == "duplicate":
            return rest + message
        if kind == "drop":
            return b""
        if kind == "replay":
            return chance.choice(self._older["up"][2:] + self._older["down"][2:])
        if kind == "garbage":
            return chance.randbytes(chance.choice([1, 56, 64, 1000])) + rest
        if kind == "flip":
            spoilt = bytearray(rest)
            for _ in range(chance.choice([1, 1, 3])):
                spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
            return bytes(spoilt)
        assert kind == "swap"
        return rest

    def _close(self, *connections: socket.socket, reset: bool = False) -> None:
        for connection in connections:
            try:
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                # it is closed only once no thread reads from it any more
                connection.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def calm(self) -> None:
        """From now on `call` is not made: a strike at the last message does nothing."""
        with self._calling:
            self._calm = True

    def close(self) -> None:
        """Once it returns, nothing is carried or struck any more."""
        self._dead.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._door.join(10)
        with self._lock:
            self._close(*self._sockets)
        for thread in (self._door, *self._threads):
            thread.join(10)
            assert not thread.is_alive(), "a proxy's thread does not end"


def pester(
    address: str, generation: int, world: int, older: Recorded, until: threading.Event
) -> None:
    """A stranger at a rank's door: silent, garbage, hellos without the key, old greetings."""
    host, port = address.split(":")
    chance = random.Random(generation)
    kept: list[socket.socket] = []
    while not until.is_set():
        try:
            connection = socket.create_connection((host, int(port)), 1)
            rank = chance.randrange(world)
            hello = _HELLO.pack(b"TLYH", 1, generation, rank, chance.randrange(world), bytes(32))
            said = chance.choice([b"", chance.randbytes(200), hello + bytes(32), *older["up"][:2]])
            connection.sendall(said)
            kept.append(connection)
        except OSError:
            pass
        if len(kept) > 20:
            kept.pop(0).close()
        select.select([], [], [], 0.001)
    for connection in kept:
        connection.close()
