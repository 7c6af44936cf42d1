"""The geometry of plots."""

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tally.reports import plot, words

finite = st.floats(-1e12, 1e12).map(lambda value: round(value, 6))


@given(finite, finite, st.integers(2, 10))
def test_ticks_are_round_even_and_cover_the_values(low: float, high: float, most: int) -> None:
    low, high = sorted((low, high))
    ticks = plot.steps(low, high, most)
    gaps = [b - a for a, b in itertools.pairwise(ticks)]
    slack = 1e-6 * max(abs(low), abs(high), 1e-6)
    assert 1 <= len(gaps) <= most + 2
    assert max(gaps) - min(gaps) <= slack
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack


@given(st.lists(st.tuples(st.integers(), finite), min_size=5, max_size=500), st.integers(4, 50))
def test_thinning_keeps_the_ends_the_peak_and_the_trough(
    points: list[tuple[int, float]], most: int
) -> None:
    points.sort()
    thinned = plot.thin(points, most)
    assert len(thinned) <= max(most, 4)
    assert thinned == sorted(thinned, key=lambda point: point[0])
    assert set(thinned) <= set(points)
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])
    for extreme in (min, max):
        wanted = extreme(y for _, y in points)
        assert wanted in [y for _, y in thinned]


@given(st.lists(st.floats(1e-6, 1e4), min_size=2, max_size=20))
def test_a_log_axis_holds_every_value_and_has_few_ticks(values: list[float]) -> None:
    assume(max(values) > 10 * min(values))
    scale, ticks = plot.log_axis(values)
    assert scale.low <= min(values)
    assert scale.high >= max(values)
    assert 1 <= len(ticks) <= 10
    assert all(0 <= tick.at <= plot.HEIGHT for tick in ticks)
    assert scale.share(min(values)) < scale.share(max(values))


def test_a_lone_point_is_drawn_as_a_dash() -> None:
    scale = plot.Scale(0, 10)
    assert plot.path([(5, 5)], scale, scale).count("L") == 1


def test_a_value_beyond_the_axis_stays_inside_the_plot() -> None:
    scale = plot.Scale(0, 10)
    assert scale.percent(11) == 100
    assert scale.pixel(-1) == plot.HEIGHT


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (11_220, "3 h 07 min"),
        (86_399, "1 d 00 h"),
    ],
)
def test_durations_never_say_sixty(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0.00"), (1234.5, "$1,234.50"), (0.001724, "$0.00172"), (0.5, "$0.500"), (-2, "−$2.00")],
)
def test_small_amounts_keep_three_figures(amount: float, text: str) -> None:
    assert words.usd(amount) == text


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_no_share_is_rounded_to_all_or_nothing(share: float) -> None:
    assert words.percent(share) not in ("100.0 %", "0.0 %")
