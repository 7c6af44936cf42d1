"""The coordinator as a gRPC server: it feeds the pure rules (membership) and does what they say.

One lock around the rules; every worker has an outbox of its own, so that one that does not read
holds up nobody.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from tally.errors import RunError
from tally.gang.coordinator import coordinator_pb2 as pb
from tally.gang.coordinator import membership, wire
from tally.gang.coordinator.answering import Answering
from tally.gang.coordinator.events import Event
from tally.gang.coordinator.fetching import Files
from tally.gang.coordinator.intake import Intake
from tally.gang.coordinator.outbox import Outbox
from tally.gang.coordinator.state import (
    Decision,
    Finish,
    Form,
    Life,
    Limits,
    Pause,
    Refuse,
    State,
    Tell,
    Welcome,
)

__all__ = ["Coordinator", "Limits", "Tls"]

LOOK_SECONDS = 0.25
ASLEEP_SECONDS = 2.0  # this process was stopped for so long: the workers' silence is not theirs
SPARE_THREADS = 32

Rule = Callable[[State, float], tuple[State, list[Decision]]]


@dataclass(frozen=True)
class Tls:
    """PEM of the server's private key and certificate chain."""

    key: bytes
    certificate: bytes


class Coordinator:
    """A gang's coordinator, answering from its construction on. Has to be closed."""

    def __init__(
        self,
        token: bytes,
        config: Mapping[str, Any],
        told: Callable[[Event], None],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        workers: int,
        limits: Limits | None = None,
        tls: Tls | None = None,
        dataset_folder: Path | None = None,
    ) -> None:
        """Listen.

        Args:
            token: the run's own; a call without it is refused.
            config: handed to each worker.
            told: hears events, from several threads, one at a time; must not block.
            host, port: where to listen; port 0 takes a free one.
            workers: members to begin with.
            limits: see Limits.
            tls: encrypts; without it the token is as safe as the network is.
            dataset_folder: whose files workers may fetch.

        Raises:
            SpecError: a token that no header can carry.
            RunError: the port is taken.
        """
        self._limits = limits or Limits()
        self._told = told
        self._lock = threading.Condition()
        self._state = State(self._limits, workers)
        self._outboxes: dict[bytes, Outbox] = {}
        self._ended: list[Outbox] = []
        self._intake = Intake(self._limits.heartbeats_per_second)
        self._files = Files(
            dataset_folder, self._limits.fetches, self._limits.fetch_stalled_seconds
        )
        self._welcome = pb.Welcome(
            config_json=json.dumps(dict(config)),
            coordinator=secrets.token_bytes(16),
            heartbeat_seconds=self._limits.heartbeat_seconds,
        )
        self._closed = False
        self._server = self._make_server(token)
        self.address = f"{host}:{_bind(self._server, f'{host}:{port}', tls)}"
        self._server.start()
        self._clock = threading.Thread(target=self._look, name="coordinator-clock", daemon=True)
        self._clock.start()

    def resize(self, workers: int) -> None:
        """Have so many members from now on: those with the lowest indexes."""
        self.apply(lambda state, now: membership.resize(state, now, workers))

    def rebatch(self, batch_size: int) -> None:
        """Have another global batch, in examples, from the next generation on."""
        self.apply(lambda state, now: membership.rebatch(state, now, batch_size))

    def stop(self) -> None:
        """End the training in good order: its last members save a checkpoint."""
        self.apply(membership.stop)

    def gone(self, worker: str, uid: str) -> None:
        """A worker's process or pod has ended."""
        with self._lock:
            for life in list(self._state.lives.values()):
                if (life.worker, life.uid) == (worker, uid):
                    self.left(life.member, "its process has ended")

    def close(self, grace_seconds: float = 0.5) -> None:
        """Tell all workers that it is over, and stop listening. Can be repeated."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for member in list(self._outboxes):
                self._do(Finish(member, "finished", "the training is over"))
            self._lock.notify_all()
        self._server.stop(grace_seconds).wait(grace_seconds + 1.0)
        with self._lock:
            for outbox in self._ended:
                outbox.cut_if_stuck()
        self._clock.join(1.0)

    # what the answering of calls needs

    def admit(self, life: Life, context: grpc.ServicerContext) -> Outbox | Refuse:
        """A worker wants in: where its orders will come from, or why not."""
        with self._lock:
            if self._closed:
                return Refuse("the training is over", full=True)
            outbox = self._outboxes[life.member] = Outbox(context)
            self._intake.welcome(life.member, life.worker, life.nonce)
            refused = self.apply(partial(membership.join, life=life))
            if refused is not None:
                del self._outboxes[life.member]
                return refused
            return outbox

    def left(self, member: bytes, reason: str) -> None:
        """A worker's stream or process has ended."""
        self.apply(lambda state, now: membership.gone(state, now, member, reason))

    def apply(self, rule: Rule) -> Refuse | None:
        """Feed the rules and do what they say; the refusal, if they refuse."""
        refused = None
        with self._lock:
            if self._closed:
                return None
            self._state, decisions = rule(self._state, time.monotonic())
            for decision in decisions:
                if isinstance(decision, Refuse):
                    refused = decision
                else:
                    self._do(decision)
            self._lock.notify_all()
        return refused

    def life(self, member: bytes) -> Life | None:
        """The life with this id, while it lives."""
        with self._lock:
            return self._state.lives.get(member)

    # inside

    def _make_server(self, token: bytes) -> grpc.Server:
        answering = Answering(
            self, wire.bearer(token), self._intake, self._files, self._told, self._lock
        )
        threads = self._limits.workers + self._limits.fetches + SPARE_THREADS
        return grpc.server(
            futures.ThreadPoolExecutor(threads, "coordinator"),
            handlers=[wire.handlers(answering)],
            maximum_concurrent_rpcs=threads,
            options=[
                ("grpc.max_receive_message_length", self._limits.message_bytes),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 2000),
                ("grpc.keepalive_timeout_ms", int(self._limits.silent_seconds * 1000)),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )

    def _do(self, decision: Decision) -> None:
        match decision:
            case Welcome(life):
                welcome = pb.Welcome(member=life.member)
                welcome.MergeFrom(self._welcome)
                self._send(life.member, pb.Order(welcome=welcome))
            case Pause(generation, urgent, members):
                for member in members:
                    pause = pb.Pause(generation=generation, urgent=urgent)
                    self._send(member, pb.Order(pause=pause))
            case Form():
                self._form(decision)
            case Finish(member, reason, message):
                self._finish(member, reason, message)
            case Tell(event):
                self._told(event)

    def _form(self, form: Form) -> None:
        key = secrets.token_bytes(32)
        for rank, life in enumerate(form.lives):
            generation = pb.Generation(
                generation=form.generation,
                rank=rank,
                addresses=[other.address for other in form.lives],
                key=key,
                donor=form.donor,
                fresh=form.fresh,
                order=form.order,
                batch_size=form.batch_size,
            )
            self._send(life.member, pb.Order(generation=generation))

    def _finish(self, member: bytes, reason: str | None, message: str) -> None:
        if reason:
            self._send(member, pb.Order(end=pb.End(reason=reason, message=message)))
        if reason == "dropped":
            self._intake.dropped(member)
        outbox = self._outboxes.pop(member, None)
        if outbox is not None:
            outbox.end()
            self._ended.append(outbox)

    def _send(self, member: bytes, order: pb.Order) -> None:
        outbox = self._outboxes.get(member)
        if outbox is not None and not outbox.put(order):
            outbox.cut()  # it does not read; the end of its stream takes it out

    def _look(self) -> None:
        """Let the rules see that time passes."""
        with self._lock:
            while not self._closed:
                wake, now = membership.wake_seconds(self._state), time.monotonic()
                wait = LOOK_SECONDS if wake is None else min(LOOK_SECONDS, max(0.0, wake - now))
                self._lock.wait(wait + 0.001)
                late = time.monotonic() - now - wait
                if late > ASLEEP_SECONDS:
                    self._state = membership.excuse(self._state, late)
                elif wake is not None and time.monotonic() >= wake:
                    self.apply(membership.look)
                for outbox in self._ended:
                    outbox.cut_if_stuck()
                self._ended = [outbox for outbox in self._ended if not outbox.through]
                self._files.cut_stalled()


def _bind(server: grpc.Server, where: str, tls: Tls | None) -> int:
    try:
        if tls is None:
            return int(server.add_insecure_port(where))
        credentials = grpc.ssl_server_credentials([(tls.key, tls.certificate)])
        return int(server.add_secure_port(where, credentials))
    except RuntimeError as error:
        raise RunError(
            f"coordinator: expected to listen at {where}, got {error}; is the port taken?"
        ) from error
