"""The coordinator over real gRPC, with workers as threads and as processes that are killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from helpers.gang import coordinator_process
from helpers.gang.coordinator_gang import Heard, Trainee, until
from helpers.gang.coordinator_process import LOST_SECONDS, TOKEN
from tally.errors import RunError, SpecError
from tally.gang.coordinator.client import Member
from tally.gang.coordinator.events import (
    CoordinatorLost,
    Dropped,
    End,
    Formed,
    Generation,
    Joined,
    Left,
    Observation,
    Observed,
    Ready,
    Rested,
    Told,
)
from tally.gang.coordinator.server import Coordinator, Limits

QUICK = Limits(silent_seconds=1.0, rest_urgent_seconds=1.0)

Make = Callable[..., Coordinator]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def make(heard: Heard) -> Iterator[Make]:
    with contextlib.ExitStack() as stack:

        def begin(workers: int, **options: Any) -> Coordinator:
            coordinator = Coordinator(TOKEN, {"epochs": 3}, heard, workers=workers, **options)
            stack.callback(coordinator.close)
            return coordinator

        yield begin


@pytest.fixture
def process() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, coordinator_process.__file__, *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for one in started:
        one.kill()
        one.wait()
        assert one.stdout is not None
        one.stdout.close()


def train(coordinator: Coordinator, workers: int) -> list[Trainee]:
    found = [Trainee(coordinator, str(index)) for index in range(workers)]
    for worker in found:
        assert isinstance(worker.order(), Generation)
    return found


def test_a_gang_forms_grows_shrinks_and_stops(make: Make, heard: Heard) -> None:
    coordinator = make(2)
    first = train(coordinator, 2)
    assert first[0].config == {"epochs": 3}
    coordinator.resize(3)
    third = Trainee(coordinator, "2")
    orders = [worker.order() for worker in [*first, third]]
    assert [order.membership.rank for order in orders] == [0, 1, 2]
    assert orders[0].membership.addresses == ("127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:2")
    assert len({order.membership.key for order in orders}) == 1
    assert len(orders[0].membership.key) == 32
    assert not orders[0].fresh
    coordinator.resize(1)
    assert first[1].order() == End("dismissed", "resize") == third.order()
    assert first[0].order().membership.world_size == 1
    assert {event.worker for event in heard.of(Left)} == {"1", "2"}
    coordinator.stop()
    assert first[0].order().order == "stop"
    first[0].close()
    heard.wait(Left, 3)
    assert heard.of(Left)[-1] == Left("0", "uid-0", "stopped")
    assert [event.generation for event in heard.of(Formed)] == [1, 2, 3]
    for event in heard.of(Rested):
        formed = next(one for one in heard.of(Formed) if one.generation == event.generation)
        assert set(event.steps) == set(formed.workers)


def test_a_gang_forms_anew_at_each_of_twenty_resizes(make: Make) -> None:
    coordinator = make(4)
    workers = train(coordinator, 4)
    newcomer = Trainee(coordinator, "4")
    for size in (5, 4) * 10:
        generation = workers[-1].member._incoming.generation
        coordinator.resize(size)
        until(lambda: workers[0].member.paused(generation))  # noqa: B023
        for worker in workers:
            worker.order()
        if size == 4:
            assert isinstance(newcomer.order(), End)
            newcomer = Trainee(coordinator, "4")
        else:
            newcomer.order()


@pytest.mark.timing
def test_a_killed_process_is_noticed_at_once(
    make: Make, heard: Heard, process: Callable[..., Any]
) -> None:
    coordinator = make(2)
    other = Trainee(coordinator, "0")
    seconds = []
    for turn in range(5):
        worker = process("worker", coordinator.address, "1")
        heard.wait(Formed, 2 * turn + 1)
        began = time.monotonic()
        worker.send_signal(signal.SIGKILL)
        heard.wait(Dropped, turn + 1)
        seconds.append(time.monotonic() - began)
        heard.wait(Formed, 2 * turn + 2)
    print(f"SIGKILL noticed after {[f'{one * 1e3:.1f} ms' for one in seconds]}")
    assert sorted(seconds)[2] < 0.1
    assert not other.order().membership.rank


@pytest.mark.timing
def test_a_stopped_process_is_dropped_after_its_silence_and_told_so_when_it_wakes(
    make: Make, heard: Heard, process: Callable[..., Any]
) -> None:
    coordinator = make(2, limits=QUICK)
    Trainee(coordinator, "0")
    worker = process("worker", coordinator.address, "1")
    heard.wait(Formed)
    worker.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    dropped = heard.wait(Dropped)
    assert 0.4 < time.monotonic() - began < 5.0
    assert dropped.worker == "1" and "no heartbeat" in dropped.reason
    assert heard.wait(Formed, 2).workers == ("0",)
    # longer than it would wait for the coordinator: it must not take that for its loss
    until(lambda: time.monotonic() - began > 1.5 * LOST_SECONDS)
    worker.send_signal(signal.SIGCONT)
    said = worker.stdout.read().splitlines()
    assert said[-1] == "end dropped" and worker.wait() == 0


def test_gone_takes_out_this_life_and_no_other(make: Make, heard: Heard) -> None:
    coordinator = make(1)
    train(coordinator, 1)
    coordinator.gone("0", "uid-of-another-life")
    assert not heard.of(Dropped)
    coordinator.gone("0", "uid-0")
    assert heard.wait(Dropped).reason == "its process has ended"


def test_a_killed_coordinator_is_lost_after_its_time(process: Callable[..., Any]) -> None:
    server = process("coordinator")
    address = server.stdout.readline().strip()
    worker = Trainee(address, "0", lost_seconds=LOST_SECONDS)
    generation = worker.order().membership.generation
    server.kill()
    began = time.monotonic()
    until(lambda: worker.member.lost)
    assert LOST_SECONDS * 0.7 < time.monotonic() - began < LOST_SECONDS + 30
    assert worker.member.paused(generation)
    assert isinstance(worker.order(), CoordinatorLost)
    worker.close()


@pytest.mark.slow
def test_a_coordinator_that_only_sleeps_for_a_while_drops_nobody(
    process: Callable[..., Any],
) -> None:
    server = process("coordinator")
    address = server.stdout.readline().strip()
    worker = Trainee(address, "0", lost_seconds=30.0)
    generation = worker.order().membership.generation
    server.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 6.5)  # longer than silent_seconds
    server.send_signal(signal.SIGCONT)
    worker.member.tell(b"still here")
    lines = iter(server.stdout.readline, "")
    seen = next(line for line in lines if "Told" in line or "Dropped" in line)
    assert "still here" in seen
    assert not worker.member.paused(generation)
    worker.close()


def test_a_cut_connection_brings_the_worker_back_with_its_state(make: Make, heard: Heard) -> None:
    coordinator = make(2)
    workers = train(coordinator, 2)
    until(lambda: workers[1].step > 3)
    workers[1].member._stream.cancel()  # as a reset of the connection does
    heard.wait(Dropped)
    formed = heard.wait(Formed, 2)
    last = heard.wait(Formed, len(heard.of(Formed)))
    if len(last.workers) == 1:  # the other had rested before it was back
        last = heard.wait(Formed, len(heard.of(Formed)) + 1)
    assert last.workers == ("0", "1") and not last.fresh and not formed.fresh


def test_all_cut_at_once_come_back_without_losing_a_step(make: Make, heard: Heard) -> None:
    coordinator = make(3)
    workers = train(coordinator, 3)
    until(lambda: all(worker.step > 3 for worker in workers))
    for worker in workers:
        worker.member._stream.cancel()
    until(lambda: heard.of(Formed)[-1].workers == ("0", "1", "2") and len(heard.of(Formed)) > 1)
    assert not any(event.fresh for event in heard.of(Formed)[1:])


def test_lines_arrive_once_and_in_order_over_a_cut_and_after_the_end(
    make: Make, heard: Heard
) -> None:
    coordinator = make(2)
    workers = train(coordinator, 2)
    lines = [b"%d" % number for number in range(2000)]
    for number, line in enumerate(lines[:-1]):
        workers[1].member.tell(line)
        if number == 900:
            workers[1].member._stream.cancel()
    until(lambda: heard.of(Formed)[-1].workers == ("0", "1") and len(heard.of(Formed)) > 1)
    coordinator.resize(1)
    until(lambda: isinstance(workers[1].order(), End))
    workers[1].member.tell(lines[-1])
    workers[1].close()
    assert [event.line for event in heard.of(Told)] == lines
    assert {event.worker for event in heard.of(Told)} == {"1"}


def test_many_large_lines_go_in_pieces_and_one_too_large_is_refused(
    make: Make, heard: Heard
) -> None:
    coordinator = make(1)
    worker = train(coordinator, 1)[0]
    for _ in range(12):
        worker.member.tell(b"x" * 900_000)
    with pytest.raises(RunError, match="at most 1048576 bytes"):
        worker.member.tell(b"x" * (1 << 20 | 1))
    heard.wait(Told, 12)


def test_an_observation_is_heard_once_and_only_of_its_own_generation(
    make: Make, heard: Heard
) -> None:
    coordinator = make(1)
    worker = train(coordinator, 1)[0]
    stale = Observation(7, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    worker.member.observe(stale)
    until(lambda: worker.member._outgoing._observation is None)
    fine = Observation(1, 5, 300.0, 0.1, 0.02, 0.01, float("nan"), 40.0)
    worker.member.observe(fine)
    seen = heard.wait(Observed).observation
    assert (seen.step, seen.examples_per_second, seen.gradient_noise_scale) == (5, 300.0, 40.0)
    assert seen.loss != seen.loss
    worker.member.tell(b"later")
    heard.wait(Told)
    assert len(heard.of(Observed)) == 1


def test_an_urgent_pause_is_pressed_until_the_worker_rests(make: Make) -> None:
    coordinator = make(2)
    workers = [Member(coordinator.address, TOKEN, name, f"uid-{name}") for name in "01"]
    pressed: list[int] = []
    for member in workers:
        member.join()
        member.ready("127.0.0.1:1")
    workers[0].on_urgent(pressed.append)
    assert workers[0].next(0, 10) is not None
    workers[1].close(0.0)
    until(lambda: len(pressed) >= 3)  # the first may come before the collective is joined
    workers[0].rest(1, 5, True)
    after = len(pressed)
    order = workers[0].next(1, 10)
    assert isinstance(order, Generation) and order.membership.world_size == 1
    assert len(pressed) == after and set(pressed) == {1}
    workers[0].close()


def test_leaving_is_a_planned_change(make: Make, heard: Heard) -> None:
    coordinator = make(2)
    workers = train(coordinator, 2)
    workers[0].member.tell(b"first")
    workers[0].member.leave("SIGTERM")
    assert heard.of(Told), "leave comes after all lines"
    assert workers[0].order() == End("dismissed", "SIGTERM")
    assert workers[1].order().membership.rank == 0
    assert heard.wait(Left) == Left("0", "uid-0", "SIGTERM") and not heard.of(Dropped)


def test_close_tells_everybody(make: Make) -> None:
    coordinator = make(2)
    workers = train(coordinator, 2)
    coordinator.close()
    assert [worker.order().reason for worker in workers] == ["finished", "finished"]


@pytest.mark.timing
def test_a_second_life_gets_in_once_the_first_is_silent(
    make: Make, heard: Heard, process: Callable[..., Any]
) -> None:
    coordinator = make(1, limits=QUICK)
    first = process("worker", coordinator.address, "0")
    heard.wait(Formed)
    second = Member(coordinator.address, TOKEN, "0", "uid-second")
    with pytest.raises(RunError, match=r"ALREADY_EXISTS.*one life at a time"):
        second.join(0.4)
    second.close()
    first.send_signal(signal.SIGSTOP)
    third = Member(coordinator.address, TOKEN, "0", "uid-third")
    began = time.monotonic()
    third.join()
    assert time.monotonic() - began < 5 * QUICK.silent_seconds
    third.close()
    assert heard.wait(Dropped).uid == f"pid:{first.pid}"


def test_nobody_there_is_a_clear_error() -> None:
    member = Member("127.0.0.1:1", TOKEN, "0", "u")
    with pytest.raises(RunError, match="expected to be let in within 1 s, got UNAVAILABLE"):
        member.join(1.0)
    member.close()


def test_a_port_that_never_answers_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        member = Member(f"127.0.0.1:{server.getsockname()[1]}", TOKEN, "0", "u")
        with pytest.raises(RunError, match="expected to be let in"):
            member.join(1.0)
        member.close()


def test_a_worker_waits_for_a_coordinator_that_comes_late(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    member = Member(f"127.0.0.1:{port}", TOKEN, "0", "u")
    joined: list[Any] = []
    thread = threading.Thread(target=lambda: joined.append(member.join(20.0)))
    thread.start()
    until(lambda: "UNAVAILABLE" in member._problem)
    make(1, port=port)
    thread.join(20.0)
    assert joined == [{"epochs": 3}]
    member.close()


def test_a_taken_port_is_a_clear_error(make: Make) -> None:
    port = int(make(1).address.rpartition(":")[2])
    with pytest.raises(RunError, match=f"expected to listen at 127.0.0.1:{port}"):
        make(1, port=port)


def test_a_token_that_no_header_carries_is_a_clear_error() -> None:
    with pytest.raises(SpecError, match="printable ASCII"):
        Member("127.0.0.1:1", b"\x00\xff", "0", "u")


def test_joining_and_readiness_are_told(make: Make, heard: Heard) -> None:
    before = threading.active_count()
    coordinator = make(1)
    member = Member(coordinator.address, TOKEN, "0", f"u{os.getpid()}")
    member.join()
    assert heard.wait(Joined) == Joined("0", f"u{os.getpid()}")
    assert not heard.of(Ready) and member.next(0, 0.05) is None
    member.ready("127.0.0.1:5")
    assert heard.wait(Ready).worker == "0"
    member.close()
    assert threading.active_count() < before + 20
