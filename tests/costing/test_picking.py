"""Which size is picked for which objective, and what is said where none meets it."""

from dataclasses import replace

import pytest
from test_quote import OTHERS, SIZE

from tally.costing.picking import Limits, pick
from tally.costing.quote import Row, price, symmetric
from tally.errors import SpecError


def size(workers: int, seconds: float, machines: int = 1, **changes: object) -> Row:
    """A size whose training takes so long, ± a fifth."""
    step = symmetric(seconds / SIZE.steps, 0.2)
    changed = replace(SIZE, workers=workers, machines=machines, step=step, **changes)
    return price(changed, OTHERS)


SLOW = size(1, 100)  # cheap by hardware, dear by the hours waited
FAST = size(4, 30, machines=4, price_usd_per_hour=2.0)


def test_balanced_takes_the_least_total_and_says_so() -> None:
    best, why = pick([SLOW, FAST], Limits())
    assert best is SLOW and "least total" in why
    patient = price(SLOW.candidate, replace(OTHERS, value_of_hour_usd=100.0))
    hurried = price(FAST.candidate, replace(OTHERS, value_of_hour_usd=100.0))
    best, _ = pick([patient, hurried], Limits())
    assert best is hurried


def test_a_deadline_takes_the_cheapest_that_is_surely_in_time() -> None:
    assert pick([SLOW, FAST], Limits(objective="deadline", deadline_seconds=500))[0] is SLOW
    assert pick([SLOW, FAST], Limits(objective="deadline", deadline_seconds=60))[0] is FAST
    best, why = pick([SLOW, FAST], Limits(objective="deadline", deadline_seconds=37))
    assert best is FAST and "high end it would miss" in why


def test_a_budget_takes_the_fastest_within_it() -> None:
    assert pick([SLOW, FAST], Limits(objective="budget", budget_usd=10))[0] is FAST
    middle = (SLOW.usd.high + FAST.usd.low) / 2
    assert pick([SLOW, FAST], Limits(objective="budget", budget_usd=middle))[0] is SLOW


def test_a_budget_below_every_low_end_is_refused_with_the_nearest_that_is_met() -> None:
    with pytest.raises(SpecError) as caught:
        pick([SLOW, FAST], Limits(budget_usd=0.001))
    line = str(caught.value)
    assert SLOW.name in line and "got $0.001" in line
    offered = float(line.partition("budget_usd=")[2].partition('"')[0])
    assert SLOW.usd.high < offered
    assert pick([SLOW, FAST], Limits(budget_usd=offered))[0] is SLOW


def test_a_deadline_before_every_low_end_is_refused_with_the_nearest_that_is_met() -> None:
    with pytest.raises(SpecError) as caught:
        pick([SLOW, FAST], Limits(objective="deadline", deadline_seconds=5))
    line = str(caught.value)
    assert FAST.name in line and "got 5 s" in line
    offered = float(line.partition("deadline=")[2].partition('s"')[0])
    assert pick([SLOW, FAST], Limits(objective="deadline", deadline_seconds=offered))[0] is FAST


def test_a_deadline_that_only_a_size_beyond_the_budget_meets_is_refused() -> None:
    limits = Limits(objective="deadline", deadline_seconds=40, budget_usd=SLOW.usd.high)
    with pytest.raises(SpecError, match="within the budget"):
        pick([SLOW, FAST], limits)


def test_what_is_only_listed_is_not_taken_over_what_was_measured_unless_allowed() -> None:
    better = size(2, 10, basis="listed")
    assert pick([SLOW, better], Limits())[0] is SLOW
    best, why = pick([SLOW, better], Limits(allow_listed=True))
    assert best is better and "nothing was measured" in why
    assert pick([better], Limits())[0] is better  # there is nothing else


def test_what_does_not_fit_or_was_not_asked_for_is_passed_over() -> None:
    small = size(1, 1, excluded="needs 9.0 GiB of memory and has 2.0")
    other = size(1, 1, allowed=False)
    assert pick([SLOW, small, other], Limits())[0] is SLOW
    with pytest.raises(SpecError, match=r"needs 9\.0 GiB.*smaller batch_size"):
        pick([small, other], Limits())
