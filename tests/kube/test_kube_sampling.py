"""Use from a counter that is read now and then: whole up to the last reading, whatever was lost."""

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.kube.sampling import TRUNCATED_MICROSECONDS, Samples, seen, used

pytestmark = pytest.mark.exact

SECOND = 1_000_000
Reading = tuple[float, float, float]  # second, counter, working set


def after(*readings: Reading, state: Samples | None = None) -> Samples | None:
    for second, counter, memory in readings:
        state = seen(state, round(second * SECOND), counter, memory)
    return state


def cpu(state: Samples | None, start: float, end: float) -> float:
    """With the half second that Kubernetes cut off an end taken off the end, for round figures."""
    end_microseconds = round(end * SECOND) - TRUNCATED_MICROSECONDS
    what = used(state, round(start * SECOND), end_microseconds)
    assert what is not None
    return what.cpu_core_seconds


def test_what_ended_before_its_first_reading_is_not_known() -> None:
    assert used(None, 0, 12 * SECOND) is None


@given(
    st.lists(st.integers(2, 10_000), min_size=1, max_size=30, unique=True).map(sorted),
    st.floats(0, 64),
    st.integers(0, 40),
)
def test_a_steady_container_is_exact_however_often_it_is_read(
    seconds: list[int], cores: float, after_last: int
) -> None:
    readings = [(float(at), cores * at, 1e9) for at in seconds]
    end = seconds[-1] + after_last
    state = after(*readings)
    assert cpu(state, 0, end) == pytest.approx(cores * end)
    what = used(state, 0, end * SECOND - TRUNCATED_MICROSECONDS)
    assert what is not None
    assert what.memory_byte_seconds == pytest.approx(1e9 * end)


def test_the_moment_of_a_start_is_no_rate_for_the_rest() -> None:
    burst = after((0.2, 0.1, 1e7))  # half a core, as any program that starts
    assert cpu(burst, 0, 5) == pytest.approx(0.1)
    assert cpu(after((0.2, 0.1, 1e7), (4.2, 0.3, 1e7)), 0, 5) == pytest.approx(0.34)
    assert cpu(after((2, 1, 1e7)), 0, 5) == pytest.approx(2.5)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 8)), min_size=1, max_size=20),
    st.lists(st.integers(1, 1000), min_size=1, max_size=20, unique=True).map(sorted),
)
def test_only_what_came_after_the_last_reading_is_estimated(
    pieces: list[tuple[int, float]], looked: list[int]
) -> None:
    def counter(at: int) -> float:
        total, left = 0.0, at
        for length, cores in pieces:
            total += min(length, left) * cores
            left -= min(length, left)
        return total

    end = sum(length for length, _ in pieces)
    seconds = [at for at in looked if at <= end]
    if not seconds:
        return
    state = after(*((float(at), counter(at), 0.0) for at in seconds))
    most = max(cores for _, cores in pieces)
    unknown = end - seconds[-1]
    assert abs(cpu(state, 0, end) - counter(end)) <= most * unknown + 1e-6


def test_the_end_goes_on_as_the_last_interval_did() -> None:
    state = after((15, 1.5, 0), (30, 31.5, 0))
    assert cpu(state, 0, 40) == pytest.approx(31.5 + 10 * 2)


def test_after_one_reading_the_end_goes_on_as_the_mean() -> None:
    assert cpu(after((15, 7.5, 0)), 5, 25) == pytest.approx(7.5 + 10 * 0.75)


def test_after_one_reading_the_containers_own_mean_counts_where_it_is_told() -> None:
    # ten seconds for the image, five of work: the mean of the pod's life would be a third of it
    state = seen(None, 15 * SECOND, 5.0, 1e9, 1.0)
    assert cpu(state, 0, 25) == pytest.approx(5 + 10)
    later = seen(state, 25 * SECOND, 7.0, 1e9, 0.5)  # two readings know better
    assert cpu(later, 0, 35) == pytest.approx(7 + 10 * 0.2)


def test_the_other_cgroup_in_the_same_look_is_no_restart() -> None:
    state = after((15, 5.0, 1e9), (15.3, 4.9, 1e9))
    assert cpu(state, 0, 15) == pytest.approx(5)
    assert cpu(after((16, 5.5, 1e9), state=state), 0, 16) == pytest.approx(5.5)


def test_a_step_up_to_the_other_cgroup_is_no_rate_for_the_rest() -> None:
    """Three seconds of an init container's are in the pod's own counter alone."""
    state = after((15, 5.0, 1e9), (30, 12.5, 1e9), (30.3, 15.65, 1e9))
    assert cpu(state, 0, 40.3) == pytest.approx(15.65 + 10 * 0.5)
    first = seen(seen(None, 15 * SECOND, 5.0, 1e9, 0.5), round(15.3 * SECOND), 8.15, 1e9)
    assert cpu(first, 0, 25.3) == pytest.approx(8.15 + 10 * 0.5)
    untold = after((15, 5.0, 1e9), (16, 8.0, 1e9))  # the mean of all that it lived
    assert cpu(untold, 0, 26) == pytest.approx(8 + 10 * 0.5)


def test_a_reading_later_than_the_cut_end_takes_nothing_back() -> None:
    state = after((15, 15.0, 0), (30.9, 30.9, 0))
    assert cpu(state, 0, 30.4) == pytest.approx(30.9)


def test_a_restarted_containers_counter_comes_on_top() -> None:
    state = after((15, 15.0, 0), (30, 30.0, 0), (45, 5.0, 0), (60, 20.0, 0))
    assert cpu(state, 0, 60) == pytest.approx(50)
    # the interval of the restart says nothing of how fast it was
    assert cpu(after((15, 15.0, 0), (30, 30.0, 0), (45, 5.0, 0)), 0, 50) == pytest.approx(40)


def test_a_meter_that_has_forgotten_all_still_finds_the_whole_counter() -> None:
    before: list[Reading] = [(15, 12.0, 1e9), (30, 28.0, 1e9)]
    later: list[Reading] = [(120, 100.0, 1e9), (135, 120.0, 1e9)]
    remembers, forgot = after(*before, *later), after(*later)
    assert cpu(forgot, 0, 140) == cpu(remembers, 0, 140)
    assert used(forgot, 0, 140 * SECOND) == used(remembers, 0, 140 * SECOND)


@pytest.mark.parametrize("second", [30, 29, 15], ids=["the same again", "older", "much older"])
def test_a_reading_that_is_not_newer_changes_nothing(second: int) -> None:
    state = after((15, 12.0, 1e9), (30, 28.0, 2e9))
    assert after((second, 12.0, 5e9), state=state) == state


def test_memory_is_straight_between_readings_and_level_outside_them() -> None:
    what = used(after((10, 0, 100.0), (20, 0, 200.0)), 0, 30 * SECOND - TRUNCATED_MICROSECONDS)
    assert what is not None
    assert what.memory_byte_seconds == pytest.approx(10 * 100 + 10 * 150 + 10 * 200)


def test_a_container_that_lasts_uses_more_with_every_reading() -> None:
    readings: list[Reading] = [(15, 3.0, 1e9), (30, 9.0, 1e9), (45, 9.5, 1e9), (60, 30.0, 1e9)]
    states = [after(*readings[: n + 1]) for n in range(len(readings))]
    known = [state.cpu_core_seconds for state in states if state]
    assert all(a < b for a, b in pairwise(known))


def test_the_peak_is_the_highest_reading_wherever_it_was() -> None:
    what = used(after((0, 0, 3e8), (15, 1, 9e8), (30, 2, 1e8)), 0, 40 * SECOND)
    assert what is not None
    assert what.memory_peak_bytes == 900_000_000


def test_short_lives_under_a_steady_load_are_nearly_right() -> None:
    """A kubelet that looks at containers each 10 s and at a pod's own cgroup late at first; a meter
    that asks each 5 s; ends cut to whole seconds."""
    chance = random.Random(3)
    short_used = short_billed = 0.0
    for _ in range(200):
        began, worked = chance.uniform(2, 12), chance.uniform(10, 60)
        cores, end = chance.uniform(0.05, 2), began + worked
        looks = np.arange(began + chance.uniform(0.5, 8), end, 10)
        pod_looks = looks[looks > chance.uniform(10, 20)] + 0.01
        state = None
        for asked in np.arange(chance.uniform(0, 5), end, 5):
            told = max((look for look in (*looks, *pod_looks) if look < asked), default=None)
            if told is not None:
                used_seconds = told - began
                state = seen(state, round(told * SECOND), cores * used_seconds, 1e9, cores)
        what = used(state, 0, int(end) * SECOND)
        if what is None:
            assert worked < 15
            continue
        if worked >= 30:
            assert what.cpu_core_seconds == pytest.approx(cores * worked, rel=0.05)
        else:
            short_used += cores * worked
            short_billed += what.cpu_core_seconds
    assert short_billed == pytest.approx(short_used, rel=0.05)
