"""The bill on a terminal, and runs side by side."""

import io
import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from helpers.reports.records import Story, record, whole
from tally.errors import SpecError
from tally.reports import money
from tally.reports.compare import compare, compare_json
from tally.reports.text import bill_table


def printed(what: object, width: int = 120) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(what)
    return console.export_text()


def amounts(text: str) -> list[Decimal]:
    return [Decimal(amount) for amount in re.findall(r"\$([\d.]+)", text)]


def test_the_printed_lines_add_up_to_the_printed_total() -> None:
    story = whole(resumed=True)
    text = printed(bill_table(story.bill(record(story))))
    table = text[: text.index("└")]
    lines = [line for line in table.splitlines() if "$" in line]
    steps = [amounts(line) for line in lines if not re.search(r"│ (sum|time|total)", line)]
    (hardware, software), (_, time), (total,) = (amounts(line) for line in lines[len(steps) :])
    assert [sum(column) for column in zip(*steps, strict=True)] == [hardware, software]
    assert hardware + software + time == total
    for words in ("a million examples trained", "percentage point", "not spent at work", "restart"):
        assert words in text


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.001, 9999)), max_size=12))
def test_shares_fill_the_bar_whatever_the_steps(steps: list[tuple[str, float]]) -> None:
    story = Story()
    for name, seconds in steps:
        story.hold(name, seconds)
        story.now += seconds
    shown = money.lay_out(story.bill(record(story)))
    for slices in (shown.parts, shown.steps):
        assert sum(part.width for part in slices) == pytest.approx(100 if steps else 0)


def test_a_free_machine_is_shared_out_by_time() -> None:
    story = whole()
    free = [row.__class__(**{**fields(row), "price_usd_per_hour": 0.0}) for row in story.usage]
    story.usage = free
    shown = money.lay_out(story.bill(record(story)))
    assert shown.by_seconds
    assert sum(part.width for part in shown.steps) == pytest.approx(100)


def fields(row: object) -> dict:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}  # type: ignore[attr-defined]


def test_a_run_without_usage_has_a_bill_too() -> None:
    story = Story()
    text = printed(bill_table(story.bill(record(story, "failed", metrics={}, examples_trained=0))))
    assert "$0.00" in text


def test_markup_in_names_is_printed_and_not_obeyed() -> None:
    story = Story()
    story.hold("[red]x[/red]", 1.0)
    run = record(story, pipeline="[bold]p", spec={"[b]": "[/b]"})
    assert "[red]x[/red]" in printed(bill_table(story.bill(run)))
    assert "[bold]p" in printed(bill_table(story.bill(run)))
    assert "[/b]" in printed(compare([(run, story.bill(run))] * 2))


def test_compare_shows_what_differs_and_what_it_cost() -> None:
    first, second = whole(), whole(resumed=True)
    slow = record(second, spec={**record(second).spec, "epochs": 6}, metrics={"test_accuracy": 0.5})
    rows = [(record(first), first.bill(record(first))), (slow, second.bill(slow))]
    table = printed(compare(rows))
    for words in ("epochs", "96.9 %", "50.0 %", "a point of accuracy", "wall clock", "succeeded"):
        assert words in table
    found = compare_json(rows)
    assert json.loads(json.dumps(found))["differing"] == ["epochs"]
    assert [run["bill"]["total_usd"] > 0 for run in found["runs"]] == [True, True]


def test_compare_of_one_run_is_refused_in_one_line() -> None:
    story = whole()
    run = record(story)
    with pytest.raises(SpecError, match="expected two runs or more, got 1; pass RUN=") as error:
        compare([(run, story.bill(run))])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("parts", [[1.94, 0.66, 0.55, 3.25, 13.55], [0.04] * 9, [0.05], []])
def test_printed_seconds_add_up(parts: list[float]) -> None:
    from tally.reports.text import _tenths

    assert sum(_tenths(parts, sum(parts))) == round(10 * sum(parts))
