"""What a pod should ask for, from past lives: like the Vertical Pod Autoscaler, never rashly."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.costing.lives import Life
from tally.scaling.rightsizing import (
    LEAST_BYTES,
    LEAST_CORES,
    MEMORY_STEP,
    Requests,
    after_oom_bytes,
    right_size,
)

DAY = 86400 * 10**6
NOW = 1000 * DAY
MIB = 1 << 20
USUAL = Requests(
    cpu_cores=0.5, memory_bytes=2048 * MIB, cpu_limit_cores=2.0, memory_limit_bytes=2048 * MIB
)


def life(days_ago: float = 0, peak: float = 700, cores: float = 0.4, **changes: float) -> Life:
    seconds = changes.pop("seconds", 600)
    return Life(
        ended_at_microseconds=NOW - round(days_ago * DAY),
        work_seconds=seconds,
        cpu_core_seconds=cores * seconds,
        memory_peak_bytes=round(peak * MIB),
        **changes,
    )


def sized(*lives: Life) -> Requests:
    return right_size(lives, USUAL, NOW)


@pytest.mark.parametrize(
    "lives",
    [
        [],
        [life(), life(1)],
        [life(29), life(30), life(31)],
        [life(seconds=20)] * 9,
        [life(peak=0)] * 9,
    ],
    ids=["none", "two", "too old", "too short to be seen", "nobody looked"],
)
def test_what_is_not_known_well_leaves_the_usual(lives: list[Life]) -> None:
    assert sized(*lives) == USUAL


def test_three_nights_of_less_lower_the_requests_and_no_limit() -> None:
    found = sized(life(0), life(1), life(2))
    # the buckets' ends, + 15 %, up to whole steps: 700 -> 718 -> 826 MiB, 0.4 -> 0.413 -> 0.475
    assert (found.memory_bytes, found.cpu_cores) == (832 * MIB, 0.5)
    assert (found.memory_limit_bytes, found.cpu_limit_cores) == (2048 * MIB, 2.0)
    assert found.reason.startswith("3 past lives used up to 0.41 cores and 718 MiB")


def test_more_than_the_usual_raises_memorys_limit_too() -> None:
    found = sized(*[life(day, peak=2500) for day in range(3)])
    assert found.memory_bytes == found.memory_limit_bytes == 2560 * MIB


def test_page_cache_that_fills_a_limit_does_not_raise_it_from_run_to_run() -> None:
    found = sized(*[life(day, peak=2047.9) for day in range(3)])
    assert found.memory_bytes == found.memory_limit_bytes == USUAL.memory_limit_bytes


def test_cores_are_never_asked_for_beyond_the_limit_under_which_they_were_used() -> None:
    assert sized(*[life(day, cores=1.99) for day in range(3)]).cpu_cores == 2.0


def test_one_odd_life_of_long_ago_is_outweighed_and_one_of_today_is_not() -> None:
    week = [life(day) for day in range(1, 15)]
    usual = sized(*week).memory_bytes
    assert sized(*week, life(27, peak=1900)).memory_bytes == usual
    assert sized(*week[:6], life(0, peak=1900)).memory_bytes > 1900 * MIB


def test_an_oom_kill_counts_whatever_the_others_say() -> None:
    killed = life(0, peak=0, oom_limit_bytes=2048 * MIB)
    assert sized(killed).memory_bytes == 3072 * MIB
    many = [life(day / 3) for day in range(60)]
    found = sized(*many, killed)
    assert found.memory_bytes == found.memory_limit_bytes == 3072 * MIB
    assert found.reason.endswith("one was killed at 2048 MiB")
    again = life(0, oom_limit_bytes=3072 * MIB)
    assert sized(*many, killed, again).memory_bytes == 4608 * MIB
    assert sized(life(29, oom_limit_bytes=2048 * MIB)) == USUAL


def test_after_an_oom_kill_a_pod_that_was_sized_down_gets_at_least_the_usual() -> None:
    assert after_oom_bytes(384 * MIB, 2048 * MIB) == 2048 * MIB
    assert after_oom_bytes(64 * MIB, 0) == 192 * MIB  # at least 100 MiB more, in whole steps
    assert after_oom_bytes(4000 * MIB, 2048 * MIB) == 6016 * MIB


ANY = st.builds(
    life,
    st.floats(0, 40),
    st.floats(0, 1e5),
    st.floats(0, 64),
    seconds=st.floats(1, 1e6),
)


@given(st.lists(ANY, max_size=30), st.randoms())
def test_it_keeps_its_bounds_and_takes_lives_in_any_order(
    lives: list[Life], chance: random.Random
) -> None:
    found = sized(*lives)
    if found.reason:
        assert LEAST_CORES <= found.cpu_cores <= USUAL.cpu_limit_cores
        highest = max(one.memory_peak_bytes for one in lives) + MEMORY_STEP
        assert LEAST_BYTES <= found.memory_bytes <= max(USUAL.memory_limit_bytes, highest)
        assert found.memory_bytes % (64 * MIB) == 0
        assert round(found.cpu_cores * 1000) % 50 == 0
    assert found.memory_limit_bytes >= max(found.memory_bytes, USUAL.memory_limit_bytes)
    chance.shuffle(lives)
    assert sized(*lives) == found


@given(st.lists(ANY, min_size=3, max_size=30))
def test_who_held_more_never_leads_to_less(lives: list[Life]) -> None:
    more = [replace(one, memory_peak_bytes=2 * one.memory_peak_bytes) for one in lives]
    assert sized(*more).memory_bytes >= sized(*lives).memory_bytes


def test_the_percentile_covers_nine_nights_of_ten() -> None:
    """Nightly lives that vary by 20 %: how often the next one fits, over 2000 nights."""
    chance = random.Random(7)
    nights = [700 * chance.lognormvariate(0, 0.2) for _ in range(2000)]
    fits = 0
    for night in range(28, 2000):
        past = [life(1 + back, peak=nights[night - 1 - back]) for back in range(28)]
        fits += nights[night] * MIB <= sized(*past).memory_bytes
    assert 0.93 < fits / (2000 - 28) < 0.999
