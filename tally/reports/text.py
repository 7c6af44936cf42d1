"""The bill, and a replayed timeline, on a terminal."""

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tally.costing.bill import Bill
from tally.reports import money, words


def bill_table(bill: Bill) -> RenderableType:
    """The bill by step and phase, with its totals, and below what the run got for the money.

    Printed amounts are rounded so that the lines add up to the printed total.
    """
    shown = money.lay_out(bill)
    title = Text(f"Bill of {bill.pipeline}, run {bill.run_id}")
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    table.add_column("phase")
    for name in ("seconds", "hardware", "software"):
        table.add_column(name, justify="right")
    step = None
    seconds = _tenths([entry.seconds for entry in shown.entries], bill.billed_seconds)
    for entry, tenths in zip(shown.entries, seconds, strict=True):
        table.add_row(
            Text("" if entry.step == step else entry.step),
            Text(entry.phase),
            f"{tenths / 10:.1f}",
            entry.hardware_usd,
            entry.software_usd,
        )
        step = entry.step
    table.add_section()
    billed = "" if shown.billed == "machine time" else shown.billed
    whole = f"{bill.billed_seconds:.1f}"
    table.add_row("sum", billed, whole, shown.hardware_usd, shown.software_usd)
    hour = f"${bill.value_of_hour_usd:.2f}/h"
    table.add_row("time", f"at {hour}", f"{bill.wall_seconds:.1f}", shown.time_usd, "")
    table.add_section()
    table.add_row("total", "", "", shown.total_usd, "", style="bold")
    return Group(table, *(Text(line) for line in _below(bill, shown)))


def replay_table(replayed: Mapping[str, Any]) -> RenderableType:
    """What a timeline came to, as `tally meter replay` says it: its pods, and its nodes' sums."""
    table = Table()
    table.add_column("pod")
    table.add_column("phase")
    for name in ("seconds", "hardware"):
        table.add_column(name, justify="right")
    for pod, cost in replayed["pods"].items():
        name = pod
        for phase, of in cost["phases"].items():
            table.add_row(Text(name), phase, f"{of['seconds']:.1f}", f"${of['usd']:.6f}")
            name = ""
        table.add_row(Text(name), "in all", f"{cost['seconds']:.1f}", f"${cost['usd']:.6f}")
        table.add_section()
    for part in ("idle", "overhead", "nodes"):
        table.add_row(part, "", "", f"${replayed[f'{part}_usd']:.6f}")
    return table


def _tenths(parts: list[float], total: float) -> list[int]:
    """Parts in tenths that add up to the total in tenths, where the parts do: largest remainder."""
    floors = [math.floor(10 * part) for part in parts]
    short = round(10 * total) - sum(floors)
    by_rest = sorted(range(len(parts)), key=lambda k: floors[k] - 10 * parts[k])
    for k in by_rest[: max(0, short)]:
        floors[k] += 1
    return floors


def _below(bill: Bill, shown: money.Money) -> list[str]:
    lines = []
    if bill.platform_seconds:
        lines.append(words.platform(bill.platform_seconds, bill.wall_seconds))
    if bill.usd_per_example is not None and bill.examples:
        amount, unit = words.per_example(bill.usd_per_example)
        lines.append(f"{amount} {unit} trained ({words.count(bill.examples)})")
    if bill.usd_per_point is not None and bill.result is not None:
        amount, reached = words.usd(bill.usd_per_point), words.measured(bill.headline, bill.result)
        lines.append(f"{amount} {bill.headline.point} ({reached})")
    if shown.wasted:
        parts = ", ".join(f"{line.phase} {words.duration(line.seconds)}" for line in shown.wasted)
        share = words.percent(shown.wasted_share)
        lines.append(f"{shown.wasted_usd} not spent at work ({share}): {parts}")
    if not bill.confirmed:
        lines.append(words.UNCONFIRMED)
    return lines
