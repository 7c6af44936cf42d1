"""A quote as the terminal shows it, and how far quotes were off."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tally.costing.bill import Bill
from tally.costing.quotes import Quote
from tally.reports import words

_LISTED_SHOWN = 6
Document = Mapping[str, Any]


def quote_table(document: Document) -> Group:
    """A whole quote: every size, the pick and why, what would change it.

    Args:
        document: as tally.costing.quotation makes it.
    """
    rows: Sequence[Document] = document["rows"]
    table = Table(
        title=f"Quote of {document['pipeline']}", title_justify="left",
        box=box.SIMPLE_HEAD, show_edge=False,
        padding=(0, 1, 0, 0), collapse_padding=True,
        pad_edge=False,
    )  # fmt: skip
    for name in ("", "size", "time", "80 %", "cost", "80 %", "basis"):
        side: Any = "left" if name in ("", "size", "basis") else "right"
        table.add_column(name, justify=side, no_wrap=True, min_width=1)
    shown = [row for row in rows if row["basis"] != "listed" or row["allowed"]]
    others = [row for row in rows if row not in shown and not row["excluded"]][:_LISTED_SHOWN]
    picked = rows[document["picked"]]
    for index, row in enumerate([*shown, *others]):
        if index == len(shown):
            table.add_section()
        if not row["excluded"]:
            style = "bold" if row is picked else "" if row["allowed"] else "dim"
            table.add_row("→" if row is picked else "", *_cells(row), style=style)
    excluded = [row for row in rows if row["excluded"]]
    lines = [f"→ {document['why']}"]
    lines += document["notes"]
    lines += [f"{row['name']}: left out, {row['excluded']}" for row in excluded if row["allowed"]]
    hidden = len(rows) - len(shown) - len(others)
    if hidden > 0:
        lines.append(f"{hidden} more sizes of clusters' machine types are in JSON=1")
    return Group(table, *(Text(line) for line in lines), Text(""), _what_ifs(document))


def _what_ifs(document: Document) -> Table:
    table = Table(title="What if", title_justify="left", box=None, header_style="dim")
    for name in ("", "time", "cost", "known by"):
        table.add_column(name, justify="right" if name in ("time", "cost") else "left")
    for one in document["what_ifs"]:
        table.add_row(
            one["name"],
            words.duration(one["expected_seconds"]),
            words.usd(one["expected_usd"]),
            one["basis"],
        )
    return table


def _cells(row: Document) -> list[str]:
    low, expected, high = (row[f"{end}_seconds"] for end in ("low", "expected", "high"))
    return [
        _size(row),
        words.duration(expected),
        span(low, high),
        words.usd(row["expected_usd"]),
        between(row["low_usd"], row["high_usd"]).removeprefix("$"),
        row["basis"],
    ]


def _size(row: Document) -> str:
    """`2 workers` here, `2 × g2-standard-4` elsewhere."""
    count, kind = row["workers"], row["machine_type"]
    if kind == "local":
        return f"{count} worker{'s' * (count != 1)}"
    return f"{count} × {kind or '1 core, 2 GiB'}"


def span(low_seconds: float, high_seconds: float) -> str:
    """`28.0–33.0 s`, `131–165 s`, `21–29 min`, `2.8–3.5 h`: one unit for both ends."""
    if high_seconds < 59.95:
        return f"{low_seconds:.1f}–{high_seconds:.1f} s"
    if high_seconds < 600:
        return f"{low_seconds:.0f}–{high_seconds:.0f} s"
    if high_seconds < 7200:
        return f"{low_seconds / 60:.0f}–{high_seconds / 60:.0f} min"
    return f"{low_seconds / 3600:.1f}–{high_seconds / 3600:.1f} h"


def between(low_usd: float, high_usd: float) -> str:
    """`$1.20–1.60`, `$0.0070–0.0091`: an interval with two digits of its low end."""
    places = max(2, words.decimals_for(low_usd) - 1)
    return f"{words.usd(low_usd, places)}–{high_usd:,.{places}f}"


def against(quote: Quote, bill: Bill) -> str:
    """One line: the bill against the quote that the run had."""
    low, expected, high = quote.low_usd, quote.expected_usd, quote.high_usd
    billed = float(bill.total_usd)
    if bill.state == "succeeded" and not bill.examples:
        return f"quoted {words.usd(expected)}, billed {words.usd(billed)}: nothing was trained"
    off = (billed / expected - 1) * 100 if expected else 0.0
    inside = "inside" if low <= billed <= high else "outside"
    return (
        f"quoted {words.usd(expected)} ({between(low, high)}), billed {words.usd(billed)}: "
        f"{off:+.1f} %, {inside} the interval"
    )


def scores_table(document: Document) -> Group:
    """How far quotes were off: over all runs, by what their step times were known by, and each."""
    if document["all"] is None:
        return Group(Text("no run that was quoted has ended yet; try `make submit PIPELINE=cnn`"))
    table = Table(title="Quotes against bills", title_justify="left")
    for name in ("known by", "runs", "error of time", "of cost", "inside 80 %", "half-width"):
        table.add_column(name, justify="left" if name == "known by" else "right")
    for basis, one in [*document["by_basis"].items(), ("all", document["all"])]:
        table.add_row(
            basis,
            str(one["runs"]),
            words.percent(one["error_seconds"]),
            words.percent(one["error_usd"]),
            words.percent(one["cover_seconds"]),
            f"± {words.percent(one['median_half_width'])}",
        )
    return Group(table)
