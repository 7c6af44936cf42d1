"""Runs side by side: what differs in what was asked, and what came of it."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from tally.costing.bill import Bill
from tally.costing.runs import RunRecord
from tally.errors import SpecError
from tally.reports import words
from tally.tasks import reading
from tally.tasks.task import Kind

SCHEMA = 1
Row = tuple[RunRecord, Bill]


def compare(rows: Sequence[Row]) -> Table:
    """A table with a column a run; parameters that differ, and the best figure, stand out.

    Raises:
        SpecError: fewer than two runs.
    """
    _need_two(rows)
    table = Table(title=f"{len(rows)} runs side by side", title_justify="left")
    table.add_column("")
    for run, _ in rows:
        table.add_column(Text(f"{run.pipeline}\n{run.id}"), overflow="fold")
    table.add_row("state", *(Text(run.state) for run, _ in rows))
    table.add_row("started", *(words.moment(run.created_at_microseconds) for run, _ in rows))
    table.add_section()
    for name, values in _parameters(rows).items():
        style = "bold yellow" if _differs(values) else "dim"
        cells = [Text("–" if value is None else str(value), style=style) for value in values]
        table.add_row(Text(name, style=style), *cells)
    table.add_section()
    for name, numbers in _metrics(rows).items():
        kind = _kind(rows, name)
        best = max if kind.higher_is_better else min
        cells = _figures(numbers, functools.partial(words.measured, kind), best)
        table.add_row(Text(name), *cells)
    table.add_section()
    for name, numbers, shown in _costs(rows):
        table.add_row(name, *_figures(numbers, shown, min))
    return table


def compare_json(rows: Sequence[Row]) -> dict[str, Any]:
    """The same as JSON's types: runs with parameters, metrics and bill, and what differs.

    Raises:
        SpecError: fewer than two runs.
    """
    _need_two(rows)
    differing = [name for name, values in _parameters(rows).items() if _differs(values)]
    return {
        "schema": SCHEMA,
        "differing": differing,
        "runs": [
            {
                "id": run.id,
                "pipeline": run.pipeline,
                "state": run.state,
                "attempts": run.attempt,
                "parameters": dict(run.spec),
                "metrics": dict(run.metrics),
                "bill": bill.as_json(),
            }
            for run, bill in rows
        ],
    }


def _need_two(rows: Sequence[Row]) -> None:
    if len(rows) < 2:
        raise SpecError(
            f"compare: expected two runs or more, got {len(rows)}; pass RUN=first,second"
        )


def _parameters(rows: Sequence[Row]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for run, _ in rows for name in run.spec)
    return {name: [run.spec.get(name) for run, _ in rows] for name in names}


def _metrics(rows: Sequence[Row]) -> dict[str, list[float | None]]:
    names = dict.fromkeys(name for run, _ in rows for name in run.metrics)
    return {name: [run.metrics.get(name) for run, _ in rows] for name in names}


def _kind(rows: Sequence[Row], name: str) -> Kind:
    """How a measure is read, by the first run that has it."""
    run = next(run for run, _ in rows if name in run.metrics)
    return reading.words(run.words, run.metrics).kind(name)


def _costs(
    rows: Sequence[Row],
) -> list[tuple[str, list[float | None], Callable[[float], str]]]:
    bills = [bill for _, bill in rows]

    def a_million(bill: Bill) -> float | None:
        return None if bill.usd_per_example is None else 1e6 * float(bill.usd_per_example)

    return [
        ("wall clock", [bill.wall_seconds for bill in bills], words.duration),
        ("hardware", [float(bill.hardware_usd) for bill in bills], words.usd),
        ("software", [float(bill.software_usd) for bill in bills], words.usd),
        ("time", [float(bill.time_usd) for bill in bills], words.usd),
        ("total", [float(bill.total_usd) for bill in bills], words.usd),
        ("a million examples", [a_million(bill) for bill in bills], words.usd),
        *((short, _a_point(bills, short), words.usd) for short in _points(bills)),
    ]


def _points(bills: Sequence[Bill]) -> list[str]:
    """What the runs' results are priced by, each once."""
    return list(dict.fromkeys(bill.headline.short for bill in bills if bill.headline.usd))


def _a_point(bills: Sequence[Bill], short: str) -> list[float | None]:
    return [
        float(bill.usd_per_point)
        if bill.headline.short == short and bill.usd_per_point is not None
        else None
        for bill in bills
    ]


def _figures(
    numbers: Sequence[float | None],
    shown: Callable[[float], str],
    best: Callable[[Sequence[float]], float],
) -> list[Text]:
    known = [number for number in numbers if number is not None]
    top = best(known) if len(set(known)) > 1 else None
    return [
        Text("–", style="dim")
        if number is None
        else Text(shown(number), style="bold green" if number == top else "")
        for number in numbers
    ]


def _differs(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values[1:])
