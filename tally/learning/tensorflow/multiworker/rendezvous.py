"""The members of a generation meet before TensorFlow does: who they are, and where it listens.

TensorFlow's servers trust whoever calls, and a collective that meets a peer's server of the former
generation is lost without a word. So rank 0 first hears from every peer, proven by the
generation's key, where its server listens; and nobody begins before everybody has formed.
"""

import hashlib
import hmac
import json
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

from tally.gang.collective import Interrupted, Membership, PeerLost

LINE_BYTES = 64 * 1024  # a line is some hundred bytes, a few more for each rank
POLL_SECONDS = 0.02  # how late an interrupt may be heard

Line = dict[str, Any]


class Rendezvous:
    """One meeting, from `open` to `go`. Use as a context manager."""

    def __init__(
        self,
        listener: socket.socket,
        membership: Membership,
        timeout_seconds: float,
        interrupted: Callable[[], bool],
    ) -> None:
        """Begin nothing yet.

        Args:
            listener: where this worker is reached; used by rank 0 only.
            membership: of the generation.
            timeout_seconds: for the whole meeting.
            interrupted: asked every so often.
        """
        self._listener = listener
        self._membership = membership
        self._deadline = time.monotonic() + timeout_seconds
        self._interrupted = interrupted
        self._peers: dict[int, _Peer] = {}

    def __enter__(self) -> "Rendezvous":
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers.values():
            peer.close()

    def tasks(self, own: tuple[int, str]) -> list[tuple[int, str]]:
        """Every rank's task number and where its TensorFlow listens, by rank.

        Args:
            own: this one's.

        Raises:
            CollectiveError: a rank did not come in time; interrupted.
        """
        membership = self._membership
        if membership.rank == 0:
            told = {0: own, **self._gather("meet", self._accept())}
            found = [told[rank] for rank in range(membership.world_size)]
            self._tell_all("tasks", found)
        else:
            self._peers[0] = self._reach(membership.addresses[0])
            self._send(self._peers[0], "meet", own)
            found = self._answer("tasks")
        return [(int(task), str(address)) for task, address in found]

    def go(self) -> None:
        """Say that this rank has formed; return when all have.

        Raises:
            CollectiveError: a rank is gone or late; interrupted.
        """
        if self._membership.rank == 0:
            self._gather("formed", None)
            self._tell_all("go", None)
            return
        self._send(self._peers[0], "formed", None)
        self._answer("go")

    # The rest: lines of JSON, each with a code over it that only a member can make.

    def _code(self, line: Line) -> str:
        text = json.dumps([line[k] for k in ("generation", "rank", "kind", "value")])
        return hmac.new(self._membership.key, text.encode(), hashlib.sha256).hexdigest()

    def _send(self, peer: "_Peer", kind: str, value: object) -> None:
        here = self._membership
        line: Line = {
            "generation": here.generation, "rank": here.rank, "kind": kind, "value": value,
        }  # fmt: skip
        line["code"] = self._code(line)
        try:
            peer.socket.settimeout(max(0.01, self._deadline - time.monotonic()))
            peer.socket.sendall(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise PeerLost(f"a peer left the meeting: {error}") from error

    def _tell_all(self, kind: str, value: object) -> None:
        for peer in self._peers.values():
            self._send(peer, kind, value)

    def _checked(self, raw: bytes, kind: str) -> Line | None:
        try:
            line: Line = json.loads(raw)
            fits = (
                line["generation"] == self._membership.generation
                and line["kind"] == kind
                and line["rank"] in range(self._membership.world_size)
                and hmac.compare_digest(str(line["code"]), self._code(line))
            )
        except (ValueError, KeyError, TypeError):
            return None
        return line if fits else None

    def _step(self, selector: selectors.BaseSelector, waiting_for: str) -> list[Any]:
        """Who is ready to be read, within the time a wait may take at once."""
        if self._interrupted():
            raise Interrupted("the coordinator knows of a newer generation")
        if time.monotonic() > self._deadline:
            raise PeerLost(f"the generation did not meet in time: no {waiting_for}")
        return [key.fileobj for key, _ in selector.select(POLL_SECONDS)]

    def _accept(self) -> selectors.BaseSelector:
        selector = selectors.DefaultSelector()
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ)
        return selector

    def _gather(self, kind: str, strangers: selectors.BaseSelector | None) -> dict[int, Any]:
        """A line of `kind` from every other rank: through new connections, or through known."""
        selector = strangers or selectors.DefaultSelector()
        callers: dict[socket.socket, _Peer] = {}
        for peer in self._peers.values():
            callers[peer.socket] = peer
            selector.register(peer.socket, selectors.EVENT_READ)
        found: dict[int, Any] = {}
        with selector:
            while len(found) < self._membership.world_size - 1:
                for ready in self._step(selector, f"line {kind!r} of every rank"):
                    if ready is self._listener:
                        caller = _Peer(self._listener.accept()[0])
                        callers[caller.socket] = caller
                        selector.register(caller.socket, selectors.EVENT_READ)
                        continue
                    caller = callers[ready]
                    raw = caller.line()
                    if raw is None:
                        continue
                    line = self._checked(raw, kind)
                    if line is None or line["rank"] in found:
                        selector.unregister(ready)
                        caller.close()
                        if strangers is None:
                            raise PeerLost("a peer left the meeting")
                        continue
                    found[line["rank"]] = line["value"]
                    self._peers[line["rank"]] = caller
                    selector.unregister(ready)
        for caller in callers.values():
            if caller not in self._peers.values():
                caller.close()
        return found

    def _reach(self, address: str) -> "_Peer":
        host, _, port = address.rpartition(":")
        while True:
            if self._interrupted():
                raise Interrupted("the coordinator knows of a newer generation")
            try:
                left = max(0.01, self._deadline - time.monotonic())
                return _Peer(socket.create_connection((host, int(port)), timeout=left))
            except OSError as error:
                if time.monotonic() > self._deadline:
                    raise PeerLost(f"rank 0 at {address} was not reached: {error}") from error
                time.sleep(POLL_SECONDS)

    def _answer(self, kind: str) -> Any:
        peer = self._peers[0]
        with selectors.DefaultSelector() as selector:
            selector.register(peer.socket, selectors.EVENT_READ)
            while True:
                if self._step(selector, "answer of rank 0"):
                    raw = peer.line()
                    if raw is not None:
                        break
        line = self._checked(raw, kind)
        if line is None or line["rank"] != 0:
            raise PeerLost("rank 0 left the meeting")
        return line["value"]


class _Peer:
    """A connection that is read by lines."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.socket.setblocking(True)
        self._read = b""

    def line(self) -> bytes | None:
        """After the socket has become readable: a whole line, None if more must come, b"" at an
        end or where a line is too long."""
        try:
            more = self.socket.recv(4096)
        except OSError:
            return b""
        self._read += more
        if not more or len(self._read) > LINE_BYTES:
            return b""
        if b"\n" not in self._read:
            return None
        raw, _, self._read = self._read.partition(b"\n")
        return raw

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
