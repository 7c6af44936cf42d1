"""Quotes against bills: errors, covers, and how wide the next intervals become."""

import random

import pytest

from tally.costing.quote import Range
from tally.costing.scores import NARROWEST, Score, summarise, width

TENTH = Range(9, 10, 11)


def scored(billed: float, interval: Range = TENTH, widened: float = 1.0) -> Score:
    return Score(
        run_id="run", pipeline="cnn", basis="measured", quoted_usd=interval.expected,
        low_usd=interval.low, high_usd=interval.high, billed_usd=billed,
        quoted_seconds=interval.expected, low_seconds=interval.low, high_seconds=interval.high,
        billed_seconds=billed, width=widened,
    )  # fmt: skip


def test_errors_are_means_and_covers_are_shares() -> None:
    found = summarise([scored(10.5), scored(9.5), scored(12), scored(10)])
    assert found is not None
    assert found.error_usd == pytest.approx((0.05 + 0.05 + 0.2 + 0) / 4)
    assert found.cover_seconds == 0.75
    assert found.median_half_width == pytest.approx(0.1)
    assert summarise([]) is None


def test_few_scores_leave_the_width_as_it_is() -> None:
    assert width([scored(20)] * 7) == 1.0


def test_some_scores_may_widen_but_only_many_may_narrow() -> None:
    assert width([scored(13)] * 8) > 1.0
    assert width([scored(10.1)] * 19) == 1.0
    assert width([scored(10.1)] * 20) == NARROWEST


def test_intervals_follow_what_quotes_were_wrong_by() -> None:
    chance = random.Random(4)
    for spread in (0.3, 1.0, 2.5):
        past = [scored(10 + chance.gauss(0, spread)) for _ in range(400)]
        wide = Range(9, 10, 11).widened(width(past))
        inside = sum(wide.low <= 10 + chance.gauss(0, spread) <= wide.high for _ in range(4000))
        assert 0.75 < inside / 4000 < 0.85 or width(past) == NARROWEST


def test_the_width_that_a_quote_had_does_not_compound() -> None:
    plain = [scored(10 + 0.2 * k) for k in range(10)]
    wide = [scored(10 + 0.2 * k, TENTH.widened(2), 2.0) for k in range(10)]
    assert 1 < width(wide) == pytest.approx(width(plain))
