"""The bill: lines add up, to the last digit and as printed."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.costing.histories import HOUR, SECOND, any_rows, lives, record, row
from tally.costing.allocation import charge
from tally.costing.bill import Bill, display_lines, make_bill
from tally.costing.merge import merge
from tally.costing.usage import Usage

pytestmark = pytest.mark.exact


def bill(rows: list[Usage], value_of_hour_usd: float = 1.0, **fields: object) -> Bill:
    return make_bill(record(**fields), charge(merge(rows)), value_of_hour_usd)


histories = st.lists(any_rows(), max_size=12) | st.tuples(
    lives(run_id="a"), lives(run_id="b", begin=30_000_000)
).map(lambda pair: pair[0] + pair[1])
values = st.sampled_from([0.0, 0.01, 1.0, 33.33, 100_000.0])


@given(histories, values)
def test_lines_add_up_to_the_total_exactly(rows: list[Usage], value: float) -> None:
    charges = charge(merge(rows))
    for run in ("a", "b", "c"):
        one = make_bill(record(run), charges, value)
        hardware = sum((line.hardware_usd for line in one.lines), Decimal(0))
        software = sum((line.software_usd for line in one.lines), Decimal(0))
        assert (hardware, software) == (one.hardware_usd, one.software_usd)
        assert hardware + software + one.time_usd == one.total_usd
        own = [c for c in charges if c.usage.run_id == run]
        assert abs(sum(c.hardware_usd for c in own) - hardware) < Decimal("1e-12")
        assert one.billed_seconds == sum(c.billed_microseconds for c in own) / 1e6
        assert one.billed_seconds <= one.wall_seconds or len({c.usage.node_uid for c in own}) > 1


@given(histories, values)
def test_printed_lines_add_up_to_the_printed_total(rows: list[Usage], value: float) -> None:
    charges = charge(merge(rows))
    for run in ("a", "b"):
        one = make_bill(record(run), charges, value)
        shown = display_lines(one)
        unit = Decimal(1).scaleb(-shown.decimals)
        assert sum(line.hardware_usd for line in shown.lines) == shown.hardware_usd
        assert sum(line.software_usd for line in shown.lines) == shown.software_usd
        assert shown.hardware_usd + shown.software_usd + shown.time_usd == shown.total_usd
        assert abs(shown.total_usd - one.total_usd) <= unit / 2
        pairs = [(shown.time_usd, one.time_usd), (shown.hardware_usd, one.hardware_usd)]
        for line, exact in zip(shown.lines, one.lines, strict=True):
            pairs += [(line.hardware_usd, exact.hardware_usd)]
            pairs += [(line.software_usd, exact.software_usd)]
        for printed, amount in pairs:
            assert abs(printed - amount) < unit
            assert -printed.as_tuple().exponent == shown.decimals


@given(lives(run_id="run"), st.data())
def test_a_lone_runs_bill_is_its_wall_clock_over_both_lives(
    rows: list[Usage], data: st.DataObject
) -> None:
    first = rows[0].stop_microseconds - rows[0].start_microseconds
    again = data.draw(lives(begin=rows[0].stop_microseconds + HOUR, attempt=2))
    second = again[0].stop_microseconds - again[0].start_microseconds
    both = bill(rows + again)
    assert both.billed_seconds == both.wall_seconds == (first + second) / 1e6


def test_an_hour_costs_what_the_catalogue_says() -> None:
    rows = [
        row(0, HOUR, step="submit", worker="", phase="startup", cpu_request_cores=0.0),
        row(HOUR // 4, HOUR, pod_uid="2", software_usd_per_hour=0.04),
    ]
    one = bill(rows, 2.0, metrics={"test_accuracy": 0.98}, examples_trained=1000)
    assert [(line.step, line.phase, line.seconds, line.usd) for line in one.lines] == [
        ("submit", "startup", 900.0, Decimal("0.025")),
        ("train", "work", 2700.0, Decimal("0.105")),
    ]
    assert (one.hardware_usd, one.software_usd) == (Decimal("0.1"), Decimal("0.03"))
    assert (one.time_usd, one.total_usd) == (Decimal(2), Decimal("2.13"))
    assert one.usd_per_example == Decimal("0.00213")
    assert one.usd_per_point == Decimal("2.13") / 98
    assert one.price_usd_per_hour == 0.1
    assert [(line.phase, line.usd) for line in one.wasted] == [("startup", Decimal("0.025"))]


def test_a_run_that_did_nothing_has_a_bill_of_nothing() -> None:
    one = bill([], state="failed")
    assert (one.total_usd, one.lines, one.wall_seconds) == (0, (), 0.0)
    assert one.examples is None
    assert one.usd_per_example is None
    assert one.usd_per_point is None
    assert display_lines(one).total_usd == Decimal("0.00")


def test_waiting_costs_time_but_no_hardware() -> None:
    one = bill([row(0, HOUR, phase="queue")])
    assert (one.hardware_usd, one.time_usd) == (0, 1)
    assert [(line.phase, line.seconds) for line in one.wasted] == [("queue", 3600.0)]


@pytest.mark.parametrize(
    ("seconds", "value", "decimals", "total"),
    [
        pytest.param(60, 0.0, 4, "0.0017", id="a small bill has digits"),
        pytest.param(60, 1.0, 4, "0.0183", id="the smallest part has two"),
        pytest.param(36_000, 1.0, 2, "11.00", id="dollars have cents"),
    ],
)
def test_small_bills_are_readable(seconds: int, value: float, decimals: int, total: str) -> None:
    shown = display_lines(bill([row(0, seconds * SECOND)], value))
    assert (shown.decimals, str(shown.total_usd)) == (decimals, total)


def test_the_bill_is_json() -> None:
    one = bill([row(0, HOUR)], metrics={"test_accuracy": 0.5})
    read = json.loads(json.dumps(one.as_json()))
    assert read["schema"] == 1
    assert read["total_usd"] == 1.1
    assert read["lines"] == [
        {
            "step": "train",
            "phase": "work",
            "seconds": 3600.0,
            "hardware_usd": 0.1,
            "software_usd": 0.0,
        }
    ]


def test_the_wall_clock_counts_what_runs_beside_each_other_once_and_no_gap() -> None:
    rows = [
        row(0, 10 * SECOND),
        row(5 * SECOND, 20 * SECOND, worker="1", pod_uid="2"),
        row(6 * SECOND, 7 * SECOND, worker="2", pod_uid="3"),
        row(100 * SECOND, 110 * SECOND, attempt=2, pod_uid="4"),
    ]
    one = bill(rows, attempt=2)
    assert (one.wall_seconds, one.billed_seconds, one.attempts) == (30.0, 30.0, 2)
