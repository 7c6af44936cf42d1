"""A worker's side of the coordinator: orders come by a stream, heartbeats go out beside it."""

import contextlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from tally.errors import RunError, SpecError
from tally.gang.coordinator import coordinator_pb2 as pb
from tally.gang.coordinator import fetching, wire
from tally.gang.coordinator.events import CoordinatorLost, End, Generation, Observation
from tally.gang.coordinator.incoming import Incoming
from tally.gang.coordinator.outgoing import Outgoing
from tally.gang.coordinator.silence import OUT_SECONDS, Silence

CALL_SECONDS = 3.0
RETRY_SECONDS = 0.1
FLUSH_SECONDS = 2.0


class Member:
    """This worker as the coordinator knows it."""

    def __init__(
        self,
        address: str,
        token: bytes,
        worker: str,
        uid: str,
        *,
        lost_seconds: float = 15.0,
        tls_ca: bytes | None = None,
    ) -> None:
        """Nothing is sent before `join`.

        Args:
            address: of the coordinator, "host:port".
            token: the run's.
            worker: its name in the gang.
            uid: of this life.
            lost_seconds: without an answer, after which the coordinator is lost.
            tls_ca: PEM of the certificate to trust; None for no TLS.

        Raises:
            SpecError: a token that no header can carry.
        """
        self._address, self._metadata = address, wire.bearer(token)
        self._channel = wire.open_channel(address, tls_ca)
        self._asked = pb.JoinRequest(
            schema=wire.SCHEMA, worker=worker, uid=uid, nonce=secrets.token_bytes(16)
        )
        self._lost_seconds, self._call_seconds = lost_seconds, min(CALL_SECONDS, lost_seconds / 4)
        self._changed = threading.Condition()  # its lock can be taken again by the same thread
        self._incoming, self._outgoing = Incoming(), Outgoing()
        self._stream: Any = None
        self._refused: SpecError | None = None
        self._problem = "no answer"
        self._urgent: Callable[[int], None] = lambda generation: None
        self._silence = Silence()
        self._closed = False
        self.lost = False

    def join(self, timeout_seconds: float = 30.0) -> dict[str, Any]:
        """Come in; what this worker is to do.

        Raises:
            SpecError: refused: another token, another Tally.
            RunError: nobody answered in time, or another life of this worker is still there.
        """
        threading.Thread(target=self._read, name="member-orders", daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: self._incoming.welcome or self._refused, timeout_seconds)
            if self._refused is not None:
                raise self._refused
            if self._incoming.welcome is None:
                raise RunError(
                    f"coordinator {self._address}: expected to be let in within "
                    f"{timeout_seconds:.0f} s, got {self._problem}; is the conductor alive?"
                )
            config: dict[str, Any] = json.loads(self._incoming.welcome.config_json)
        threading.Thread(target=self._beat, name="member-heartbeats", daemon=True).start()
        return config

    def ready(self, address: str) -> None:
        """All is built and compiled; peers reach this worker's collective at `address`."""
        with self._changed:
            self._outgoing.say(phase=pb.READY, address=address)
            self._changed.notify_all()

    def next(self, after: int, timeout_seconds: float | None = None) -> Generation | End | None:
        """The newest order, once it is later than generation `after`; None if time is up.

        Raises:
            CoordinatorLost: it has not answered for too long.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._incoming.end
                    or self._incoming.generation > after
                    or self.lost
                    or self._closed
                ),
                timeout_seconds,
            )
            if self._incoming.end is not None:
                return self._incoming.end
            if self._incoming.generation > after:
                return self._incoming.order
            if self.lost or self._closed:
                raise CoordinatorLost(
                    f"coordinator {self._address}: expected an answer within "
                    f"{self._lost_seconds:.0f} s, got {self._problem}; this worker ends"
                )
            return None

    def paused(self, generation: int) -> bool:
        """Whether `generation` has to end: a pause, the end, or no coordinator any more."""
        return self._incoming.has_to_end(generation) or self.lost

    def on_urgent(self, action: Callable[[int], None]) -> None:
        """Call `action` with the generation when its collective has to be interrupted.

        It must not wait. It is called again with every heartbeat until this worker rests, since
        it may have come before the worker had joined its peers.
        """
        with self._changed:
            self._urgent = action
            self._press()

    def rest(self, generation: int, step: int, has_state: bool, address: str | None = None) -> None:
        """Say, at once, that this worker rests and where its variables stand."""
        with self._changed:
            if generation != self._incoming.generation:
                return  # the order for a later one is here already
            changes = {} if address is None else {"address": address}
            self._outgoing.say(
                phase=pb.RESTING, generation=generation, step=step, has_state=has_state, **changes
            )
            self._changed.notify_all()

    def observe(self, observation: Observation) -> None:
        """The next heartbeat carries it, unless a newer one comes first."""
        with self._changed:
            self._outgoing.observe(observation)

    def tell(self, line: bytes) -> None:
        """Send a line to the conductor, in order, exactly once.

        Raises:
            RunError: the line is too long for a message.
        """
        with self._changed:
            self._outgoing.tell(line)
            self._changed.notify_all()

    def leave(self, reason: str) -> None:
        """Ask to be left out, after all lines are through.

        Training goes on until an order says that the others do without this worker; the reason
        "finished" ends it at once.
        """
        self._flush(FLUSH_SECONDS)
        member = b"" if self._incoming.welcome is None else self._incoming.welcome.member
        with contextlib.suppress(grpc.RpcError, ValueError):
            request = pb.LeaveRequest(member=member, reason=reason)
            wire.call(self._channel, "Leave")(
                request, metadata=self._metadata, timeout=CALL_SECONDS
            )

    def fetch(self, name: str) -> Iterator[bytes]:
        """A file of the conductor's dataset folder, piece by piece.

        Raises:
            RunError: no such file, or it broke off or came damaged again and again.
        """
        return fetching.receive(self._channel, self._metadata, name)

    def close(self, timeout_seconds: float = 1.0) -> None:
        """Send what is still to be said, and go."""
        if self._incoming.welcome is not None:
            self._flush(timeout_seconds)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            stream = self._stream
        if stream is not None:
            stream.cancel()
        self._channel.close()

    # orders

    def _read(self) -> None:
        """Orders as they come; after a cut, in again until the coordinator is lost."""
        while not (self._closed or self.lost or self._incoming.end or self._refused):
            try:
                stream = wire.call(self._channel, "Join")(self._asked, metadata=self._metadata)
                with self._changed:
                    self._stream = stream
                for order in stream:
                    self._heard(order)
                self._problem = "the end of its orders"
            except grpc.RpcError as error:
                self._cut(error)
            except ValueError:  # the channel was closed
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self.lost, RETRY_SECONDS)

    def _cut(self, error: grpc.RpcError) -> None:
        code, words = error.code(), error.details()
        with self._changed:
            self._problem = f"{code.name}: {words}"
            if code in wire.REFUSALS:
                self._refused = SpecError(f"coordinator {self._address}: {words}")
            elif code == grpc.StatusCode.ALREADY_EXISTS and self._incoming.welcome is not None:
                self._incoming.ended("dropped", words)
            self._changed.notify_all()

    def _heard(self, order: pb.Order) -> None:
        with self._changed:
            match order.WhichOneof("order"):
                case "welcome" if self._incoming.is_other(order.welcome):
                    self._problem, self.lost = "another coordinator", True
                case "welcome":
                    self._incoming.welcomed(order.welcome)
                    self._outgoing.began(order.welcome.member)
                    self._silence.broken()
                case "pause":
                    self._incoming.paused(order.pause)
                case "generation":
                    if self._incoming.formed(order.generation):
                        self._outgoing.train(self._incoming.generation)
                case "end":
                    self._incoming.ended(order.end.reason, order.end.message)
                    if order.end.reason == "dropped":
                        self._outgoing.forget()
            self._press()
            self._changed.notify_all()

    def _press(self) -> None:
        """Interrupt the collective where that is called for; `rest` waits for it."""
        urgent = self._incoming.urgent_generation >= self._incoming.generation or self.lost
        if urgent and self._outgoing.training:
            self._urgent(self._incoming.generation)

    # heartbeats

    def _beat(self) -> None:
        """Heartbeats: at their time, or at once when there is something to say."""
        beat = wire.call(self._channel, "Heartbeat")
        self._silence.begin()
        while True:
            with self._changed:
                assert self._incoming.welcome is not None, "it was let in before this thread began"
                heartbeat_seconds = self._incoming.welcome.heartbeat_seconds
                while not self._closed and (left := self._outgoing.left_seconds()) > 0:
                    self._changed.wait(left)
                if self._closed:
                    return
                request = self._outgoing.request(heartbeat_seconds)
            reply = None
            with contextlib.suppress(grpc.RpcError, ValueError):
                reply = beat(request, metadata=self._metadata, timeout=self._call_seconds)
            with self._changed:
                self._silence.beaten(self._call_seconds + heartbeat_seconds)
                self._answered(request, reply)
                self._press()
                self._changed.notify_all()

    def _answered(self, request: pb.HeartbeatRequest, reply: pb.HeartbeatReply | None) -> None:
        if reply is None:
            self._outgoing.failed(request)
        else:
            self._outgoing.arrived(request, reply)
        over = self._incoming.end is not None
        if reply is not None and (reply.known or over):
            self._silence.broken()
        unknown = reply is not None and not reply.known and self._outgoing.current(request)
        if unknown and not over and self._silence.seconds > OUT_SECONDS:
            self._stream.cancel()  # it is dead without saying so: join again
            self._outgoing.began(b"")
        if self._silence.seconds > self._lost_seconds and not over:
            self.lost = True
            self._stream.cancel()

    def _flush(self, timeout_seconds: float) -> None:
        with self._changed:
            self._outgoing.hurry()
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._outgoing.empty or self.lost or self._closed, timeout_seconds
            )
