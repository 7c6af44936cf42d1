"""Budgets and deadlines as users write them."""

import pytest

from tally import limits, spec
from tally.errors import SpecError

HOUR_MICROSECONDS = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("2h30m", 9000), ("1d", 86_400), ("45s", 45), ("0.5h", 1800)],
)
def test_a_deadline_from_submit_counts_down(text: str, seconds: float) -> None:
    found = limits.moment(text)
    assert found is not None
    assert found.seconds_left(HOUR_MICROSECONDS, HOUR_MICROSECONDS) == seconds
    assert found.seconds_left(HOUR_MICROSECONDS, 2 * HOUR_MICROSECONDS) == seconds - 3600


def test_a_deadline_at_a_moment_does_not_move_with_the_start() -> None:
    found = limits.moment("1970-01-01T02:00Z")
    assert found is not None
    assert found.seconds_left(0, HOUR_MICROSECONDS) == 3600
    assert found == limits.moment("1970-01-01T02:00") == limits.moment("1970-01-01T03:00+01:00")


@pytest.mark.parametrize("text", ["soon", "0h", "-2h", "2026-13-01", "h", "2 hours"])
def test_what_is_no_deadline_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"deadline must be .*; pass SET="):
        limits.moment(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "much", "$"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"budget_usd must be more than 0 .*; pass SET="):
        limits.budget_usd(text)


def test_a_deadline_in_the_past_is_refused() -> None:
    with pytest.raises(SpecError, match="has passed"):
        limits.require_time("1970-01-01T00:30Z", 0, HOUR_MICROSECONDS)
    limits.require_time("2h", 0, HOUR_MICROSECONDS)
    limits.require_time("", 0, HOUR_MICROSECONDS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("workers=3..2", "the fewest first, got 3..2", id="turned"),
        pytest.param("workers=0..2", "1 or more", id="zero"),
        pytest.param("workers=1..x", "got 1..x", id="letter"),
        pytest.param("workers=1..2 max_workers=3", "expected once", id="twice"),
        pytest.param("workers=3 min_workers=4", "min_workers must be 3", id="min above workers"),
        pytest.param("budget_usd=0", "budget_usd must be more than 0", id="no budget"),
        pytest.param("objective=budget", "expects budget_usd, got none", id="budget missing"),
        pytest.param("objective=deadline", "expects deadline, got none", id="deadline missing"),
        pytest.param("batch=adaptive max_batch_size=8", "max_batch_size must be 32", id="batch"),
        pytest.param("objective=fast", "balanced or deadline or budget, got fast", id="objective"),
    ],
)
def test_a_bad_limit_is_one_line(text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        spec.validate("here", spec.parse_settings(text.split()))
    assert "\n" not in str(caught.value)


def test_a_range_of_workers_begins_at_its_fewest() -> None:
    made = spec.validate("here", spec.parse_settings(["workers=2..5"]))
    assert (made.fewest_workers, made.workers, made.most_workers, made.elastic) == (2, 2, 5, True)
    plain = spec.validate("here", spec.parse_settings(["workers=2"]))
    assert (plain.fewest_workers, plain.most_workers, plain.elastic) == (2, 2, False)
