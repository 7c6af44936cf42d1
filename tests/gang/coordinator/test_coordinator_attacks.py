"""Strangers, liars, floods and broken peers: refused, and the others never notice."""

import contextlib
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from helpers.gang.coordinator_gang import Heard, Trainee, until
from helpers.gang.coordinator_process import TOKEN
from tally.errors import RunError, SpecError
from tally.gang.coordinator import coordinator_pb2 as pb
from tally.gang.coordinator import wire
from tally.gang.coordinator.client import Member
from tally.gang.coordinator.events import Dropped, Formed, Joined, ResizeAsked, Told
from tally.gang.coordinator.resizing import ask_resize
from tally.gang.coordinator.server import Coordinator, Limits

BEARER = wire.bearer(TOKEN)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def make(heard: Heard) -> Iterator[Callable[..., Coordinator]]:
    with contextlib.ExitStack() as stack:

        def begin(workers: int, **options: Any) -> Coordinator:
            coordinator = Coordinator(TOKEN, {}, heard, workers=workers, **options)
            stack.callback(coordinator.close)
            return coordinator

        yield begin


class Stranger:
    """A client that says what it likes."""

    def __init__(self, address: str, token: bytes = TOKEN) -> None:
        self.channel = wire.open_channel(address, None)
        self.metadata = wire.bearer(token)

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def ask(self, name: str, request: Any, timeout: float = 10.0) -> Any:
        return wire.call(self.channel, name)(request, metadata=self.metadata, timeout=timeout)

    def join(self, worker: str, **changes: Any) -> tuple[Any, bytes]:
        fields = {"schema": wire.SCHEMA, "worker": worker, "uid": "u", "nonce": bytes(16)} | changes
        stream = self.ask("Join", pb.JoinRequest(**fields), timeout=60.0)
        return stream, next(stream).welcome.member


def refused(code: grpc.StatusCode, call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code  # type: ignore[attr-defined]
    return str(caught.value.details())  # type: ignore[attr-defined]


@pytest.mark.parametrize("token", [b"x", TOKEN + b"x", TOKEN[:-1], b"Bearer"])
def test_another_token_opens_nothing(make: Any, heard: Heard, token: bytes) -> None:
    coordinator = make(1)
    member = Member(coordinator.address, token, "0", "u")
    with pytest.raises(SpecError, match="expected this run's token, got none or another; give"):
        member.join()
    member.close()
    with pytest.raises(SpecError, match="expected this run's token"):
        ask_resize(coordinator.address, token, 3)
    with Stranger(coordinator.address, token) as stranger:
        for name, request in (
            ("Heartbeat", pb.HeartbeatRequest()),
            ("Leave", pb.LeaveRequest()),
        ):
            refused(grpc.StatusCode.UNAUTHENTICATED, lambda n=name, r=request: stranger.ask(n, r))
        fetched = stranger.ask("Fetch", pb.FetchRequest(name="dataset.json"))
        refused(grpc.StatusCode.UNAUTHENTICATED, lambda: next(fetched))
        stranger.metadata = ()
        refused(grpc.StatusCode.UNAUTHENTICATED, lambda: stranger.join("0"))
    assert not heard.events


@pytest.mark.parametrize("schema", [0, wire.SCHEMA + 1])
def test_another_schema_is_refused_with_both_named(
    make: Any, schema: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = make(1)
    member = Member(coordinator.address, TOKEN, "0", "u")
    member._asked.schema = schema
    with pytest.raises(SpecError, match=f"expected a worker of schema {wire.SCHEMA}, got {schema}"):
        member.join()
    member.close()


@pytest.mark.parametrize(
    "changes",
    [{"worker": "../0"}, {"worker": "w" * 65}, {"uid": ""}, {"uid": "a b"}, {"nonce": b"short"}],
    ids=["path", "long", "no uid", "space", "nonce"],
)
def test_odd_names_are_refused(make: Any, heard: Heard, changes: dict[str, Any]) -> None:
    coordinator = make(1)
    with Stranger(coordinator.address) as stranger:
        refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            lambda: stranger.join(changes.pop("worker", "0"), **changes),
        )
    assert not heard.events


def test_resize_is_asked_from_outside(make: Any, heard: Heard) -> None:
    coordinator = make(1)
    ask_resize(coordinator.address, TOKEN, 3)
    assert heard.wait(ResizeAsked) == ResizeAsked(3)
    with pytest.raises(SpecError, match="expected 1 to 10000 workers, got 0"):
        ask_resize(coordinator.address, TOKEN, 0)
    with pytest.raises(RunError, match="is the run training"):
        ask_resize("127.0.0.1:1", TOKEN, 2, timeout_seconds=1.0)


def test_garbage_on_the_port_hurts_nobody(make: Any, heard: Heard) -> None:
    coordinator = make(2)
    workers = [Trainee(coordinator, name) for name in "01"]
    host, port = coordinator.address.split(":")
    noise = random.Random(3)
    opened = []
    for turn in range(50):
        one = socket.create_connection((host, int(port)), timeout=5)
        opened.append(one)
        prefix = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if turn % 2 else b""
        with contextlib.suppress(OSError):
            one.sendall(prefix + noise.randbytes(noise.choice([1, 40, 5000])))
    before = [worker.step for worker in workers]
    until(lambda: all(worker.step > at + 50 for worker, at in zip(workers, before, strict=True)))
    for one in opened:
        one.close()
    assert not heard.of(Dropped) and len(heard.of(Formed)) == 1


def test_a_message_too_large_is_refused(make: Any, heard: Heard) -> None:
    coordinator = make(1)
    with Stranger(coordinator.address) as stranger:
        _, member = stranger.join("0")
        request = pb.HeartbeatRequest(member=member, sequence=1, lines=[b"x" * (5 << 20)])
        refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: stranger.ask("Heartbeat", request))
    assert not heard.of(Told)


def test_lies_and_stale_heartbeats_change_nothing(make: Any, heard: Heard) -> None:
    coordinator = make(2)
    worker = Trainee(coordinator, "0")
    with Stranger(coordinator.address) as liar:
        stream, member = liar.join("1")

        def beat(sequence: int, **fields: Any) -> Any:
            request = pb.HeartbeatRequest(member=member, sequence=sequence, **fields)
            return liar.ask("Heartbeat", request)

        beat(1, phase=pb.READY, address="127.0.0.1:1")
        assert next(stream).generation.rank == 1
        resting = {"phase": pb.RESTING, "step": 10**9, "has_state": True}
        for generation in (0, 2, 99):  # one it was never in, or that is not there yet
            assert beat(10 + generation, generation=generation, **resting).known
        beat(5, generation=1, **resting)  # older than the last: a duplicate on its way
        beat(200, phase=7, generation=1)  # type: ignore[arg-type]
        beat(201, phase=pb.READY, address="127.0.0.1:2")  # it is in a generation
        assert not liar.ask("Heartbeat", pb.HeartbeatRequest(member=secrets.token_bytes(16))).known
        with Stranger(coordinator.address) as second:
            refused(grpc.StatusCode.ALREADY_EXISTS, lambda: second.join("0", uid="mine"))
            refused(
                grpc.StatusCode.ALREADY_EXISTS, lambda: second.join("1", nonce=bytes(15) + b"x")
            )
        at = worker.step
        until(lambda: worker.step > at + 50)
        assert len(heard.of(Formed)) == 1 and not worker.member.paused(1)


def test_who_never_reads_is_dropped_and_holds_up_nobody(make: Any, heard: Heard) -> None:
    limits = Limits(rest_urgent_seconds=1.0, rest_seconds=1.0)
    coordinator = make(3, limits=limits)
    workers = [Trainee(coordinator, name) for name in "01"]
    with Stranger(coordinator.address) as deaf:
        _, member = deaf.join("2")
        done = threading.Event()

        def beat() -> None:
            sequence = 0
            while not done.wait(0.1):
                sequence += 1
                request = pb.HeartbeatRequest(member=member, sequence=sequence, phase=pb.READY)
                with contextlib.suppress(grpc.RpcError):
                    deaf.ask("Heartbeat", request)

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            assert len(heard.wait(Formed).workers) == 3
            coordinator.gone("1", "uid-1")
            until(lambda: heard.of(Formed)[-1].workers == ("0",))
        finally:
            done.set()
            thread.join()
    assert {event.worker for event in heard.of(Dropped)} == {"1", "2"}
    assert "did not rest in time" in heard.of(Dropped)[-1].reason
    assert workers[0].member._incoming.end is None


def test_a_flood_is_refused_and_the_others_stay_quick(make: Any, heard: Heard) -> None:
    coordinator = make(3)
    workers = [Trainee(coordinator, name) for name in "01"]
    counts = {"fine": 0, "refused": 0}
    done = threading.Event()
    with Stranger(coordinator.address) as flooder:
        _, member = flooder.join("2")

        def flood() -> None:
            sequence = 0
            while not done.is_set():
                sequence += 1
                request = pb.HeartbeatRequest(member=member, sequence=sequence, phase=pb.READY)
                try:
                    flooder.ask("Heartbeat", request)
                    counts["fine"] += 1
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                    counts["refused"] += 1

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            heard.wait(Formed)
            until(lambda: counts["refused"] > 200)
            coordinator.gone("2", "u")
            began = time.monotonic()
            until(lambda: heard.of(Formed)[-1].workers == ("0", "1"))
            seconds = time.monotonic() - began
        finally:
            done.set()
            thread.join()
    print(f"flood: {counts}; the others formed within {seconds * 1e3:.0f} ms")
    assert seconds < 2.0
    assert {event.worker for event in heard.of(Dropped)} == {"2"}
    assert len(workers) == 2


def test_too_many_workers_are_refused_and_the_gang_goes_on(make: Any, heard: Heard) -> None:
    coordinator = make(1, limits=Limits(workers=3))
    worker = Trainee(coordinator, "0")
    with Stranger(coordinator.address) as many:
        streams = [many.join(str(index)) for index in (1, 2)]
        words = refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: many.join("3"))
        assert "expected at most 3 workers" in words
        at = worker.step
        until(lambda: worker.step > at + 20)
        assert len(heard.of(Joined)) == 3 and len(streams) == 2


def test_a_duplicated_join_of_one_process_ends_the_former_life_only(
    make: Any, heard: Heard
) -> None:
    coordinator = make(2)
    worker = Trainee(coordinator, "0")
    with Stranger(coordinator.address) as twice:
        first, before = twice.join("1")
        second, after = twice.join("1")
        assert before != after and list(first) == []
        request = pb.HeartbeatRequest(member=before, sequence=9, phase=pb.READY, address="a:1")
        assert not twice.ask("Heartbeat", request).known
        assert not heard.of(Formed)
        request = pb.HeartbeatRequest(member=after, sequence=1, phase=pb.READY, address="a:1")
        twice.ask("Heartbeat", request)
        assert next(second).generation.rank == 1
    assert worker.order().membership.world_size == 2
