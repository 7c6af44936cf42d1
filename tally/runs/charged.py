"""What a time cost, day by day out of the ledger: for the chargeback and the export."""

import csv
import datetime
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from tally import storage
from tally.costing import chargeback, focus
from tally.costing.allocation import Charge
from tally.costing.cluster_tables import nodes
from tally.costing.database import reading
from tally.costing.days import DAY_MICROSECONDS, refuse_unpriced
from tally.costing.ledger import Ledger
from tally.costing.node_shares import NodeAccount
from tally.costing.sweep import uncollected
from tally.costing.tables import usage
from tally.errors import SpecError
from tally.machines import catalogue
from tally.reports.chargeback_text import Shown, show_chargeback


@dataclass(frozen=True)
class Charged:
    """Charges, and accounts of nodes each with the begin (microseconds UTC) of its day."""

    charges: list[Charge]
    accounts: list[tuple[int, NodeAccount]]


def charged(ledger: Ledger, since: str = "", until: str = "", run_id: str = "") -> Charged:
    """What was charged from the begin of the day `since` to that of the day `until`, UTC.

    Each day is charged apart, so that it costs the same whatever else is asked for with it.

    Args:
        since, until: YYYY-MM-DD; "" for all that the ledger has.
        run_id: only the charges of the one run of that id, and no node's account; "" for all.

    Raises:
        SpecError: no date, no time between them, several runs of that id, or a machine type whose
            price is not known.
    """
    found = Charged([], [])
    record = ledger.run(run_id) if run_id else None
    wanted = record.key if record else ("", run_id) if run_id else None
    for begin, end in _days(*_window(ledger, since, until, run_id)):
        with uncollected():
            period = ledger.period(begin, end)
        own = [one for one in period.charges if wanted in (None, one.usage.run_key)]
        accounts = [] if run_id else period.accounts
        refuse_unpriced(own, accounts)
        found.charges.extend(own)
        found.accounts.extend((begin, account) for account in accounts)
    return found


def by(ledger: Ledger, names: str, since: str, until: str, run_id: str = "") -> Shown:
    """Who pays for what was charged.

    Args:
        names: what to group by, "team,month".

    Raises:
        SpecError: as `charged`, or nothing can be grouped by such a name.
    """
    parsed = chargeback.parse_by(names)
    found = charged(ledger, since, until, run_id)
    return show_chargeback(chargeback.chargeback(found.charges, found.accounts, parsed), parsed)


def write_focus(ledger: Ledger, since: str, until: str, out: Path) -> int:
    """Write what was charged into a file, as FOCUS 1.2 CSV; how many rows.

    Raises:
        SpecError: as `charged`, or nothing was charged then; the file stays as it was.
        RunError: the disk is full.
    """
    found = charged(ledger, since, until)
    if not (found.charges or found.accounts):
        raise SpecError(
            f"export: expected charges from {since or 'the first day'} to {until or 'now'}, got "
            "none; pass another SINCE and UNTIL"
        )
    count = 0
    try:
        with storage.atomic_file(out) as binary:
            file = io.TextIOWrapper(binary, "utf-8", newline="", write_through=True)
            writer = csv.DictWriter(file, focus.COLUMNS, lineterminator="\n")
            writer.writeheader()
            for row in focus.focus_rows(found.charges, found.accounts, _list_prices()):
                writer.writerow(row)
                count += 1
            file.detach()  # it would close what atomic_file still syncs
    except OSError as error:
        raise SpecError(
            f"OUT: expected a file that can be written, got {out} ({error.strerror}); "
            "pass OUT=another/file.csv"
        ) from error
    return count


def _list_prices() -> focus.ListPrices:
    """Of the catalogue's machine types with a discount."""
    return {
        (kind.name, kind.version, kind.price_usd_per_hour): kind.list_price_usd_per_hour
        for kind in catalogue.load().machine_types.values()
        if kind.discount_percent
    }


def _window(ledger: Ledger, since: str, until: str, run_id: str) -> tuple[int, int]:
    """From when to when, in microseconds; nothing is asked for beyond what the ledger has."""
    first, last = _span(ledger, run_id)
    begin = _midnight("SINCE", since) if since else first
    end = _midnight("UNTIL", until) if until else max(last, begin)
    if since and until and end <= begin:
        raise SpecError(
            f"UNTIL: expected a day after SINCE={since}, got {until}; the day UNTIL is not "
            "charged any more: pass the day after the last"
        )
    return max(begin, first), min(end, last)


def _span(ledger: Ledger, run_id: str) -> tuple[int, int]:
    """When the ledger's, or a run's, first row begins and its last ends; 0, 0 without any."""
    tables = [usage] if run_id else [usage, nodes]
    first, last = [], []
    with reading(ledger.engine) as connection:
        for table in tables:
            query = select(
                func.min(table.c.start_microseconds), func.max(table.c.stop_microseconds)
            )
            if run_id:
                query = query.where(table.c.run_id == run_id)
            begin, end = connection.execute(query).one()
            if begin is not None:
                first.append(begin)
                last.append(end)
    return min(first, default=0), max(last, default=0)


def _days(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The days (microseconds UTC) that begin … end touches; whole ones, so that each is charged as
    it would be alone."""
    day = begin // DAY_MICROSECONDS * DAY_MICROSECONDS
    while day < end:
        yield day, day + DAY_MICROSECONDS
        day += DAY_MICROSECONDS


def _midnight(name: str, text: str) -> int:
    try:
        day = datetime.datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=datetime.UTC)
    except ValueError as error:
        raise SpecError(
            f'{name}: expected a day like 2026-11-01 (UTC), got "{text}"; pass {name}=2026-11-01'
        ) from error
    return int(day.timestamp()) * 1_000_000
