"""When a run has to stop because of its budget or deadline, and what it says then."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally import limits
from tally.costing.spending import Limits, Remaining, Spending, stop_words
from tally.spec import parse_settings

HOUR = 3_600_000_000


def spending(usd: float = 1.0, usd_per_hour: float = 2.0) -> Spending:
    return Spending(usd=usd, usd_per_hour=usd_per_hour, at_microseconds=HOUR)


@given(
    st.floats(0, 100), st.floats(0.01, 100), st.floats(0.01, 200), st.floats(0, 60), st.floats(0, 5)
)
def test_a_run_that_stops_when_told_and_ends_in_time_has_spent_its_budget(
    usd: float, usd_per_hour: float, budget: float, ending: float, hours: float
) -> None:
    spent = spending(usd, usd_per_hour)
    given_limits = Limits(budget_usd=budget, ending_seconds=ending)
    now = HOUR + round(hours * HOUR)
    left, kind = given_limits.seconds_left(spent, now)
    assert kind == "budget"
    if left > 0:
        end = now + (left + ending + given_limits.saving_seconds) * 1e6
        assert spent.usd_at(round(end)) == pytest.approx(budget)
    else:  # even at once is too late to end within it
        end = now + (ending + given_limits.saving_seconds) * 1e6
        assert spent.usd_at(round(end)) >= budget * (1 - 1e-9)


@pytest.mark.parametrize(
    ("given_limits", "expected"),
    [
        (Limits(), (math.inf, "budget")),
        (Limits(deadline_microseconds=2 * HOUR, saving_seconds=10), (3590.0, "deadline")),
        (Limits(deadline_microseconds=HOUR // 2, saving_seconds=0), (-1800.0, "deadline")),
        (
            Limits(budget_usd=2.0, deadline_microseconds=2 * HOUR, saving_seconds=0),
            (1800.0, "budget"),
        ),
        (
            Limits(budget_usd=9.0, deadline_microseconds=2 * HOUR, saving_seconds=0),
            (3600.0, "deadline"),
        ),
    ],
    ids=["none", "deadline", "passed", "budget first", "deadline first"],
)
def test_the_first_limit_counts(given_limits: Limits, expected: tuple[float, str]) -> None:
    assert given_limits.seconds_left(spending(), HOUR) == expected


def test_where_an_hour_costs_nothing_only_a_budget_that_is_spent_stops() -> None:
    free = spending(1.0, 0.0)
    assert Limits(budget_usd=2.0).seconds_left(free, HOUR)[0] == math.inf
    assert Limits(budget_usd=1.0).seconds_left(free, HOUR)[0] < 0


def left(done: int = 600, rate: float = 100.0) -> Remaining:
    return Remaining(
        done_examples=done,
        total_examples=36_600,
        examples_per_second=rate,
        usd_per_hour=3.0,
        starting_seconds=10.0,
    )


def test_a_stop_says_what_remains_and_a_parameter_that_would_be_enough() -> None:
    words = stop_words("budget", Limits(budget_usd=0.5), 0.49, left(), "r", saved=True)
    assert "budget_usd $0.500, got 600 of 36,600 examples for $0.490" in words
    assert "36,000 examples remain, about 0.103 hours and $0.308" in words
    setting = words.partition('SET="')[2].partition('"')[0]
    raised = limits.budget_usd(parse_settings([setting])["budget_usd"])
    assert raised is not None
    assert raised > 0.49 + 0.308


def test_a_deadline_that_is_reached_proposes_one_that_is_long_enough() -> None:
    words = stop_words("deadline", Limits(deadline_microseconds=1), 0.49, left(), "r", saved=True)
    setting = words.partition('SET="')[2].partition('"')[0]
    raised = limits.moment(parse_settings([setting])["deadline"])
    assert raised is not None
    assert raised.seconds is not None
    assert raised.seconds >= 370


def test_a_stop_before_the_first_step_promises_nothing() -> None:
    nothing = Remaining(
        done_examples=0,
        total_examples=0,
        examples_per_second=0.0,
        usd_per_hour=3.0,
        starting_seconds=1.0,
    )
    words = stop_words("budget", Limits(budget_usd=0.5), 0.6, nothing, "r", saved=False)
    assert "no example yet" in words
    assert "remain" not in words
    assert "checkpoint" not in words
