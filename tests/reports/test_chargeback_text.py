"""A chargeback on a terminal: what is printed adds up, down and across."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_text import printed

from tally.costing.chargeback import Line
from tally.costing.days import Sum
from tally.reports.chargeback_text import Compared, Comparison, show_chargeback, show_comparison

pytestmark = pytest.mark.exact

amounts = st.decimals(0, 10**6, places=12)


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=8), st.booleans())
def test_printed_amounts_add_up_down_and_across(
    pairs: list[tuple[Decimal, Decimal]], small: bool
) -> None:
    scale = Decimal("1e-7") if small else Decimal(1)
    lines = [
        Line((str(index),), "workload", Sum(hardware_usd=a * scale, software_usd=b * scale + 1))
        for index, (a, b) in enumerate(pairs)
    ]
    text = printed(show_chargeback(lines, ("team",)).table, 200)
    rows = [re.findall(r"\$([\d,.]+)", line) for line in text.splitlines() if "$" in line]
    *parts, total = [[Decimal(cell.replace(",", "")) for cell in row] for row in rows]
    assert len(parts) == len(lines)
    for hardware, software, both in (*parts, total):
        assert hardware + software == both
    assert [sum(column) for column in zip(*parts, strict=True)] == total
    unit = Decimal(1).scaleb(total[0].as_tuple().exponent)  # type: ignore[arg-type]
    exact = sum((line.sum.total_usd for line in lines), Decimal(0))
    assert abs(total[2] - exact) <= unit / 2
    for line, part in zip(lines, parts, strict=True):
        assert abs(line.sum.hardware_usd - part[0]) <= unit


def test_columns_without_anything_are_left_out() -> None:
    line = Line(("a",), "workload", Sum(hardware_usd=Decimal(1), billed_microseconds=3_600_000_000))
    title, header, *_ = printed(show_chargeback([line], ("team",)).table).splitlines()
    assert "by team" in title
    assert header.split() == ["team", "hardware", "hours"]
    idle = Line(("",), "idle", Sum(accelerator=1))
    assert "accelerator·h" in printed(show_chargeback([line, idle], ("team",)).table)


def test_teams_are_printed_as_they_are_written() -> None:
    line = Line(("[red]a[/red]",), "workload", Sum())
    assert "[red]a[/red]" in printed(show_chargeback([line], ("team",)).table)


def test_a_comparison_says_by_how_much() -> None:
    rows = (
        Compared("train", "work", Decimal("1.001"), Decimal(1)),
        Compared("train", "queue", Decimal(0), Decimal(0)),
    )
    text = printed(show_comparison(Comparison("run-1", rows)).table)
    assert "+0.100%" in text
    alone = (Compared("train", "work", Decimal(1), None),)
    assert "ledger" not in printed(show_comparison(Comparison("run-1", alone)).table)
