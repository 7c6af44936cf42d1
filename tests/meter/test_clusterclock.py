"""The cluster's time comes from Date headers, whatever the meter's own clock says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.errors import RunError
from tally.meter.clusterclock import ClusterClock


class Server:
    """An API server: its clock, and how long an answer takes each way."""

    def __init__(self, offset_seconds: float) -> None:
        self.offset_seconds = offset_seconds
        self.monotonic = 1000.0

    def answer(
        self, there_seconds: float = 0.002, back_seconds: float = 0.002
    ) -> tuple[int, float, float]:
        sent = self.monotonic
        date = int(sent + there_seconds + self.offset_seconds)
        self.monotonic += there_seconds + back_seconds
        return date, sent, self.monotonic

    def error_seconds(self, clock: ClusterClock) -> float:
        return clock.now_microseconds() / 1e6 - (self.monotonic + self.offset_seconds)


def test_before_the_first_answer_there_is_no_time() -> None:
    with pytest.raises(RunError, match="no answer yet"):
        ClusterClock(lambda: 0.0).now_microseconds()


@given(
    offset=st.floats(1.7e9, 1.8e9),
    delays=st.lists(st.tuples(st.floats(0, 0.01), st.floats(0, 0.01)), min_size=8, max_size=8),
)
def test_a_few_answers_at_the_right_moments_tell_it_to_a_few_hundredths(
    offset: float, delays: list[tuple[float, float]]
) -> None:
    server = Server(offset)
    clock = ClusterClock(lambda: server.monotonic)
    for there, back in delays:
        clock.learn(*server.answer(there, back))
        assert abs(server.error_seconds(clock)) <= 0.52
        server.monotonic += clock.next_seconds(30)
    assert abs(server.error_seconds(clock)) <= 0.06


def test_once_it_is_known_the_usual_time_goes_by_between_requests() -> None:
    server = Server(1.75e9)
    clock = ClusterClock(lambda: server.monotonic)
    for _ in range(8):
        clock.learn(*server.answer())
        server.monotonic += clock.next_seconds(30)
    assert clock.next_seconds(30) == 30


def test_it_follows_a_server_whose_clock_is_set() -> None:
    server = Server(1.75e9)
    clock = ClusterClock(lambda: server.monotonic)
    for step in (0.0, 300.0, -600.0):
        server.offset_seconds += step
        for _ in range(8):
            server.monotonic += clock.next_seconds(30)
            clock.learn(*server.answer())
        assert abs(server.error_seconds(clock)) <= 0.06


def test_a_slow_answer_does_not_spoil_what_is_known() -> None:
    server = Server(1.75e9 + 0.123)
    clock = ClusterClock(lambda: server.monotonic)
    for _ in range(8):
        clock.learn(*server.answer())
        server.monotonic += clock.next_seconds(30)
    known = clock.doubt_seconds
    clock.learn(*server.answer(there_seconds=0.1, back_seconds=4.0))
    assert clock.doubt_seconds <= known + 0.01
    assert abs(server.error_seconds(clock)) <= 0.06
