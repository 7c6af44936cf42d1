"""Chargebacks, and a bill out of Prometheus beside the ledger's: on a terminal, as CSV and JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any

from rich.table import Table
from rich.text import Text

from tally.costing import chargeback
from tally.costing.days import Sum
from tally.reports import words

SCHEMA = 1
_TITLES = {
    "hardware_usd": "hardware",
    "software_usd": "software",
    "total_usd": "total",
    "hours": "hours",
    "cpu_core_hours": "core·h",
    "memory_gib_hours": "GiB·h",
    "accelerator_hours": "accelerator·h",
}


@dataclass(frozen=True, slots=True)
class Compared:
    """What one phase of one step cost; ledger_usd is None where the ledger has no such run."""

    step: str
    phase: str
    prometheus_usd: Decimal
    ledger_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run's bill out of Prometheus, hardware and software, beside the ledger's."""

    run_id: str
    rows: tuple[Compared, ...]

    @property
    def total(self) -> Compared:
        """All rows together."""
        kept = [row.ledger_usd for row in self.rows if row.ledger_usd is not None]
        scraped = sum((row.prometheus_usd for row in self.rows), Decimal(0))
        return Compared("total", "", scraped, sum(kept, Decimal(0)) if kept else None)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is printed, in each form that it can have."""

    table: Table
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    document: Mapping[str, Any]

    def csv(self) -> str:
        """Amounts in full, hours to less than a millisecond, nothing for None."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_cell(row[name]) for name in self.columns] for row in self.rows)
        return text.getvalue()

    def json(self) -> str:
        """One line; amounts are numbers, in USD."""
        return json.dumps(self.document, default=float)


def show_chargeback(lines: Sequence[chargeback.Line], by: tuple[str, ...]) -> Shown:
    """A chargeback; the table is rounded so that printed amounts add up, down and across."""
    whole = chargeback.total(lines)
    rows = chargeback.table(lines, by)
    total = {name: getattr(whole, name) for name in chargeback.FIGURES}
    document = {"schema": chargeback.SCHEMA, "by": by, "lines": rows, "total": total}
    columns = (*by, "kind", *chargeback.FIGURES)
    return Shown(_chargeback_table(lines, by), columns, rows, document)


def show_comparison(comparison: Comparison) -> Shown:
    """A run's bill out of Prometheus; where the ledger has the run, by how much they differ."""
    rows = [asdict(row) for row in comparison.rows]
    document = {
        "schema": SCHEMA,
        "run_id": comparison.run_id,
        "lines": rows,
        "total": asdict(comparison.total),
    }
    columns = tuple(field.name for field in fields(Compared))
    return Shown(_comparison_table(comparison), columns, rows, document)


def _chargeback_table(lines: Sequence[chargeback.Line], by: Sequence[str]) -> Table:
    """Lines by group with their total; columns that hold nothing are left out."""
    whole = chargeback.total(lines)
    shown = [name for name in chargeback.FIGURES if _is_shown(name, whole)]
    kinds = any(line.kind != "workload" for line in lines)
    title = "Chargeback by " + ", ".join(by)
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for name in (*by, "kind") if kinds else by:
        table.add_column(name.replace("_", " "), no_wrap=True)
    for name in shown:
        table.add_column(_TITLES[name], justify="right", no_wrap=True)
    columns = _amounts(lines, whole)
    for name in shown[shown.index("hours") :]:
        values = [row[name] for row in chargeback.table(lines, tuple(by))]
        values.append(getattr(whole, name))
        columns[name] = ["" if value is None else f"{value:,.2f}" for value in values]
    for index, line in enumerate(lines):
        cells = [Text(value) for value in ((*line.key, line.kind) if kinds else line.key)]
        table.add_row(*cells, *(columns[name][index] for name in shown))
    table.add_section()
    blank = [""] * (len(by) - 1 + kinds)
    table.add_row("total", *blank, *(columns[name][-1] for name in shown), style="bold")
    return table


def _comparison_table(comparison: Comparison) -> Table:
    title = Text(f"Bill of run {comparison.run_id} out of Prometheus")
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    table.add_column("step")
    table.add_column("phase")
    total = comparison.total
    both = total.ledger_usd is not None
    for name in ("Prometheus", "ledger", "difference")[: 3 if both else 1]:
        table.add_column(name, justify="right")
    places = words.decimals_for(total.prometheus_usd) + 2
    for row in (*comparison.rows, total):
        if row is total:
            table.add_section()
        cells = [words.usd(row.prometheus_usd, places)]
        if row.ledger_usd is not None:
            cells += [words.usd(row.ledger_usd, places), _difference(row, places)]
        table.add_row(Text(row.step), Text(row.phase), *cells, style="bold" if row is total else "")
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return f"{value:.7f}" if isinstance(value, float) else str(value)


def _difference(row: Compared, places: int) -> str:
    kept = row.ledger_usd or Decimal(0)
    apart = row.prometheus_usd - kept
    return words.usd(apart, places) + (f" ({float(apart / kept):+.3%})" if kept else "")


def _is_shown(name: str, whole: Sum) -> bool:
    if name in ("hardware_usd", "hours"):
        return True
    held: float = getattr(whole, "software_usd" if name == "total_usd" else name)
    return held != 0


def _amounts(lines: Sequence[chargeback.Line], whole: Sum) -> dict[str, list[str]]:
    """The cells of the columns of money, the last of each its total."""
    places = words.decimals_for(whole.total_usd)
    total = whole.total_usd.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    parts = _rounded([whole.hardware_usd, whole.software_usd], total, places)
    hardware = _rounded([line.sum.hardware_usd for line in lines], parts[0], places)
    software = _rounded([line.sum.software_usd for line in lines], parts[1], places)
    columns = {
        "hardware_usd": [*hardware, parts[0]],
        "software_usd": [*software, parts[1]],
        "total_usd": [*(a + b for a, b in zip(hardware, software, strict=True)), total],
    }
    return {
        name: [words.usd(amount, places) for amount in column] for name, column in columns.items()
    }


def _rounded(amounts: Sequence[Decimal], total: Decimal, places: int) -> list[Decimal]:
    """Amounts rounded, none by more than one unit, so that they add up to `total`: those with the
    largest remainders are rounded up."""
    unit = Decimal(1).scaleb(-places)
    floors = [amount.quantize(unit, ROUND_FLOOR) for amount in amounts]
    short = int((total - sum(floors, Decimal(0))) / unit)
    by_rest = sorted(range(len(amounts)), key=lambda index: floors[index] - amounts[index])
    for index in by_rest[:short]:
        floors[index] += unit
    return floors
