"""A quote's arithmetic: what a size takes and costs, as a bill would count it."""

import math
from dataclasses import replace

import pytest

from helpers.costing.histories import HOUR, SECOND, record, row
from tally.costing.allocation import charge
from tally.costing.bill import make_bill
from tally.costing.merge import merge
from tally.costing.quote import MOOD, Candidate, Others, Range, exactly, price, symmetric, total

pytestmark = pytest.mark.exact

SIZE = Candidate(
    machine_type="local", workers=1, machines=1, price_usd_per_hour=0.1,
    software_usd_per_hour=0.02, basis="measured", step=exactly(0.01), steps=1000.0,
    start=exactly(4.0),
)  # fmt: skip
OTHERS = Others(
    before=exactly(5.0), after=exactly(6.0), usd_per_hour=0.1, software_usd_per_hour=0.02,
    value_of_hour_usd=1.0,
)  # fmt: skip


def test_a_run_that_goes_as_quoted_is_billed_as_quoted() -> None:
    quoted = price(SIZE, OTHERS)
    rows = [
        row(0, 5 * SECOND, step="prepare", worker="", software_usd_per_hour=0.02),
        row(5 * SECOND, 19 * SECOND, software_usd_per_hour=0.02),
        row(19 * SECOND, 25 * SECOND, step="evaluate", worker="", software_usd_per_hour=0.02),
    ]
    bill = make_bill(record(), charge(merge(rows)), 1.0)
    assert quoted.seconds.expected == pytest.approx(bill.wall_seconds)
    assert quoted.usd.expected == pytest.approx(float(bill.total_usd))
    assert quoted.hardware_usd == pytest.approx(float(bill.hardware_usd))
    assert quoted.software_usd == pytest.approx(float(bill.software_usd))
    assert quoted.time_usd == pytest.approx(float(bill.time_usd))
    assert quoted.trained_seconds.expected == pytest.approx(19.0)


def test_workers_on_machines_of_their_own_are_paid_for_each() -> None:
    three = replace(SIZE, machine_type="n2-standard-4", workers=3, machines=3)
    one, more = price(SIZE, OTHERS), price(three, OTHERS)
    training = 14 * SECOND / HOUR
    assert more.hardware_usd - one.hardware_usd == pytest.approx(2 * 0.1 * training)
    assert more.time_usd == one.time_usd


def test_independent_errors_add_as_squares() -> None:
    summed = total([Range(7, 10, 14), Range(16, 20, 23)])
    assert summed == Range(25.0, 30.0, 35.0)
    assert total([]).expected == 0


def test_an_interval_is_widened_around_what_is_expected_and_never_below_nothing() -> None:
    assert Range(8, 10, 14).widened(2) == Range(6, 10, 18)
    assert Range(1, 10, 14).widened(3).low == 0


def test_the_interval_of_a_share_is_as_far_by_factors() -> None:
    found = symmetric(10, 0.25)
    assert math.isclose(found.low * found.high, 100)
    assert found.high == 12.5


def test_a_wider_quote_expects_the_same() -> None:
    unsure = replace(SIZE, step=symmetric(0.01, 0.2))
    plain, wide = price(unsure, OTHERS), price(unsure, OTHERS, width=2.0)
    assert wide.seconds.expected == plain.seconds.expected
    assert wide.seconds.half_width == pytest.approx(2 * plain.seconds.half_width)
    assert wide.usd.half_width == pytest.approx(2 * plain.usd.half_width)


def test_even_what_was_measured_exactly_is_unsure_by_the_machines_mood() -> None:
    assert price(SIZE, OTHERS).seconds.half_width == pytest.approx(MOOD)
    unsure = price(replace(SIZE, step=symmetric(0.01, 0.5)), OTHERS).seconds.half_width
    assert MOOD < unsure < MOOD + 0.5
