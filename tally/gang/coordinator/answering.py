"""The calls that workers make, checked, and handed on to the coordinator."""

import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import grpc

from tally.gang.coordinator import coordinator_pb2 as pb
from tally.gang.coordinator import membership, wire
from tally.gang.coordinator.events import Event, Observation, Observed, ResizeAsked, Told
from tally.gang.coordinator.fetching import Files
from tally.gang.coordinator.intake import Intake
from tally.gang.coordinator.outbox import Outbox
from tally.gang.coordinator.state import Life, Refuse

PHASES: tuple[membership.Phase, ...] = ("joining", "ready", "training", "resting")
OBSERVED = tuple(Observation.__dataclass_fields__)
MOST_WORKERS = 10_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UID = re.compile(r"[\x21-\x7e]{1,200}")
_ADDRESS = re.compile(r"[\x21-\x7e]{0,300}")
_NONCE_BYTES = 16


class Rules(Protocol):
    """What the coordinator does for a call."""

    def admit(self, life: Life, context: grpc.ServicerContext) -> Outbox | Refuse:
        """A worker wants in."""

    def left(self, member: bytes, reason: str) -> None:
        """Its stream has ended."""

    def apply(self, rule: Any) -> Refuse | None:
        """Feed the rules."""

    def life(self, member: bytes) -> Life | None:
        """The life with this id."""


class Answering:
    """The service's methods, by the names they have in the .proto."""

    def __init__(
        self,
        rules: Rules,
        bearer: tuple[tuple[str, str], ...],
        intake: Intake,
        files: Files,
        told: Callable[[Event], None],
        lock: threading.Condition,
    ) -> None:
        self._rules, self._intake, self._files, self._told = rules, intake, files, told
        self._expected = bearer[0][1].encode()
        self._lock = lock

    def Join(self, request: pb.JoinRequest, context: grpc.ServicerContext) -> Iterator[pb.Order]:  # noqa: N802
        """The stream of a worker's orders."""
        self._authorise(context)
        _check_join(request, context)
        member = secrets.token_bytes(16)
        life = Life(member, request.worker, request.uid, request.nonce, time.monotonic())
        admitted = self._rules.admit(life, context)
        if isinstance(admitted, Refuse):
            busy = grpc.StatusCode.RESOURCE_EXHAUSTED
            _abort(
                context, busy if admitted.full else grpc.StatusCode.ALREADY_EXISTS, admitted.message
            )
        if not context.add_callback(lambda: self._rules.left(member, "its connection has ended")):
            self._rules.left(member, "its connection has ended")
        yield from admitted

    def Heartbeat(  # noqa: N802
        self, request: pb.HeartbeatRequest, context: grpc.ServicerContext
    ) -> pb.HeartbeatReply:
        """What a worker does and says; the reply says what has arrived."""
        self._authorise(context)
        with self._lock:
            sender = self._intake.sender(request.member)
            if sender is None:
                return pb.HeartbeatReply(known=False)
            if self._intake.floods(sender):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many heartbeats; slow down")
            for line in self._intake.lines(sender, request):
                self._told(Told(sender.worker, line))
            if request.sequence > sender.sequence:
                sender.sequence = request.sequence
                self._report(request)
            known = self._rules.life(request.member) is not None
            return pb.HeartbeatReply(known=known, lines=self._intake.received(sender))

    def Leave(self, request: pb.LeaveRequest, context: grpc.ServicerContext) -> pb.LeaveReply:  # noqa: N802
        """A worker asks to be left out."""
        self._authorise(context)
        member, reason = request.member, request.reason[:200]
        self._rules.apply(lambda state, now: membership.leave(state, now, member, reason))
        return pb.LeaveReply()

    def Resize(self, request: pb.ResizeRequest, context: grpc.ServicerContext) -> pb.ResizeReply:  # noqa: N802
        """Somebody outside wants another size."""
        self._authorise(context)
        if not 1 <= request.workers <= MOST_WORKERS:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"expected 1 to {MOST_WORKERS} workers, got {request.workers}; ask for fewer",
            )
        if request.machine_type and not _NAME.fullmatch(request.machine_type):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"expected the name of a machine type, got {request.machine_type[:64]!r}; take one "
                "of the catalogue's",
            )
        with self._lock:
            self._told(ResizeAsked(request.workers, request.machine_type))
        return pb.ResizeReply()

    def Fetch(self, request: pb.FetchRequest, context: grpc.ServicerContext) -> Iterator[pb.Chunk]:  # noqa: N802
        """A file of the dataset, from an offset on."""
        self._authorise(context)
        yield from self._files.send(request, context)

    def _authorise(self, context: grpc.ServicerContext) -> None:
        given = b""
        for key, value in context.invocation_metadata():
            if key == "authorization":
                given = value.encode() if isinstance(value, str) else value
        if not hmac.compare_digest(given, self._expected):
            _abort(
                context,
                grpc.StatusCode.UNAUTHENTICATED,
                "expected this run's token, got none or another; give the worker the run's "
                "token file",
            )

    def _report(self, request: pb.HeartbeatRequest) -> None:
        life = self._rules.life(request.member)
        if life is None or not 0 <= request.phase < len(PHASES):
            return
        if request.HasField("observation") and request.observation.generation == life.generation:
            seen = {name: getattr(request.observation, name) for name in OBSERVED}
            self._told(Observed(life.worker, Observation(**seen)))
        address = request.address if _ADDRESS.fullmatch(request.address) else ""
        report = membership.Report(
            PHASES[request.phase],
            request.generation,
            max(0, request.step),
            request.has_state,
            address,
        )
        self._rules.apply(lambda state, now: membership.heard(state, now, request.member, report))


def _check_join(request: pb.JoinRequest, context: grpc.ServicerContext) -> None:
    if request.schema != wire.SCHEMA:
        _abort(
            context,
            grpc.StatusCode.FAILED_PRECONDITION,
            f"expected a worker of schema {wire.SCHEMA}, got {request.schema}; start conductor "
            "and workers from the same Tally",
        )
    named = _NAME.fullmatch(request.worker) and _UID.fullmatch(request.uid)
    if not named or len(request.nonce) != _NONCE_BYTES:
        _abort(
            context,
            grpc.StatusCode.INVALID_ARGUMENT,
            f"expected a worker's name, uid and nonce, got {request.worker[:64]!r}, "
            f"{request.uid[:200]!r}, {len(request.nonce)} bytes; use the names that the gang gave",
        )


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, words: str) -> NoReturn:
    context.abort(code, words)
    raise AssertionError("abort raises")
