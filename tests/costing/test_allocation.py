"""Allocation: a machine's time is shared out whole, once."""

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.costing.histories import HOUR, any_rows, lives, row, spans, union
from tally.costing.allocation import charge, usd
from tally.costing.merge import merge
from tally.costing.usage import Usage

pytestmark = pytest.mark.exact


def billed(*rows: Usage) -> list[int]:
    return [one.billed_microseconds for one in charge(rows)]


@given(st.lists(any_rows(), max_size=14))
def test_charges_on_a_node_add_up_to_the_union_of_its_intervals(rows: list[Usage]) -> None:
    merged = merge(rows)
    sums: dict[str, int] = defaultdict(int)
    for one in charge(merged):
        assert one.billed_microseconds >= 0
        sums[one.usage.node_uid] += one.billed_microseconds
    for node, total in sums.items():
        held = [one for one in merged if one.node_uid == node and one.phase != "queue"]
        assert total == union(spans(held))


@given(st.data())
def test_runs_on_one_machine_pay_its_price_once(data: st.DataObject) -> None:
    begins = st.integers(0, 100_000_000)
    rows = [
        one
        for run in ("a", "b", "c")
        for one in data.draw(lives(run_id=run, begin=data.draw(begins)))
    ]
    merged = merge(rows)
    exact = Fraction("0.1") * union(spans(merged)) / HOUR
    paid = sum(one.hardware_usd for one in charge(merged))
    assert abs(Fraction(paid) - exact) < Fraction(len(merged), 10**15)


@given(lives())
def test_a_lone_run_is_billed_its_wall_clock_exactly(rows: list[Usage]) -> None:
    merged = merge(rows)
    (submit,) = (one for one in merged if one.step == "submit")
    wall = submit.stop_microseconds - submit.start_microseconds
    assert sum(billed(*merged)) == wall


@given(st.lists(any_rows(), max_size=14))
def test_a_runs_share_is_the_same_whichever_runs_far_away_are_there(rows: list[Usage]) -> None:
    merged = merge(rows)
    everything = {one.usage: one.billed_microseconds for one in charge(merged)}
    for run in {one.run_id for one in merged}:
        own = [one for one in merged if one.run_id == run]
        near = [
            other
            for other in merged
            if any(
                other.node_uid == one.node_uid
                and other.start_microseconds < one.stop_microseconds
                and other.stop_microseconds > one.start_microseconds
                for one in own
            )
        ]
        for one in charge(near[::-1]):
            if one.usage.run_id == run:
                assert one.billed_microseconds == everything[one.usage]


@pytest.mark.parametrize(
    ("cores", "shares"),
    [
        pytest.param((1, 3), [30, 90], id="by cores"),
        pytest.param((0, 2), [0, 120], id="no cores, no share"),
        pytest.param((0, 0), [60, 60], id="nobody holds cores"),
        pytest.param((1, 1, 1, 0), [40, 40, 40, 0], id="three alike"),
        pytest.param((1e-9, 0), [120, 0], id="next to nothing is not nothing"),
    ],
)
def test_concurrent_intervals_share_by_cores(cores: tuple[float, ...], shares: list[int]) -> None:
    rows = [
        row(0, 120, worker=str(n), pod_uid=str(n), cpu_request_cores=cores[n])
        for n in range(len(cores))
    ]
    assert billed(*rows) == shares


def test_a_remainder_is_lost_to_nobody() -> None:
    rows = [row(0, 100, worker=str(n), pod_uid=str(n)) for n in range(3)]
    assert billed(*rows) == [34, 33, 33]


def test_a_remainder_goes_to_the_same_row_whatever_their_order() -> None:
    rows = [row(0, 1, source=source) for source in ("local", "pod")]
    assert {one.usage.source: one.billed_microseconds for one in charge(rows)} == {
        one.usage.source: one.billed_microseconds for one in charge(rows[::-1])
    }


def test_the_run_alone_pays_for_moments_without_a_step() -> None:
    submit = row(0, 100, step="submit", worker="", phase="startup", cpu_request_cores=0.0)
    step = row(30, 70, worker="", pod_uid="2", cpu_request_cores=2.0)
    assert billed(submit, step) == [60, 40]


def test_a_queue_holds_no_machine() -> None:
    assert billed(row(0, 100, phase="queue"), row(50, 60, pod_uid="2")) == [0, 10]


def test_machines_are_apart() -> None:
    assert billed(row(0, 100), row(0, 100, pod_uid="2", node_uid="other")) == [100, 100]


@given(st.integers(0, 10 * 365 * 24 * HOUR), st.floats(0, 1000).map(lambda x: round(x, 6)))
def test_an_amount_is_exact_to_its_last_digit(microseconds: int, price: float) -> None:
    exact = Fraction(str(price)) * microseconds / HOUR
    assert abs(Fraction(usd(microseconds, price)) - exact) <= Fraction(1, 2 * 10**15)


def test_hardware_and_software_are_priced_apart() -> None:
    (one,) = charge([row(0, HOUR, price_usd_per_hour=0.1, software_usd_per_hour=0.02)])
    assert (one.hardware_usd, one.software_usd) == (Decimal("0.1"), Decimal("0.02"))
