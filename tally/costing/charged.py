"""What a time cost, day by day out of the ledger: for the chargeback, the export and the meter's
API. Each day is charged apart, so that it costs the same whatever else is asked for with it."""

from collections.abc import Sequence

from sqlalchemy import func, select

from tally.costing.allocation import Charge
from tally.costing.cluster_ledger import Period
from tally.costing.cluster_tables import nodes
from tally.costing.database import reading
from tally.costing.days import DAY_MICROSECONDS, Charged, refuse_unpriced
from tally.costing.ledger import Ledger
from tally.costing.runs import RunKey
from tally.costing.sweep import uncollected
from tally.costing.tables import usage


def charged(
    ledger: Ledger, since: int = 0, until: int | None = None, run: RunKey | None = None
) -> Charged:
    """What was charged on the days (UTC) that a time touches.

    Args:
        since, until: microseconds UTC, midnights; until is not in it, None for all that there is.
        run: only the charges of this run, and no node's account; None for all.

    Raises:
        SpecError: a machine type's price is not known.
    """
    found = Charged([], [])
    for day in days(ledger, since, until, run):
        period = charged_on(ledger, day)
        own = charges_of(period, run)
        accounts = [] if run else period.accounts
        refuse_unpriced(own, accounts)
        found.charges.extend(own)
        found.accounts.extend((day, account) for account in accounts)
    return found


def charged_on(ledger: Ledger, day: int) -> Period:
    """What was charged on the day that begins then (microseconds UTC)."""
    with uncollected():
        return ledger.period(day, day + DAY_MICROSECONDS)


def charges_of(period: Period, run: RunKey | None) -> list[Charge]:
    """Those of a run, or all."""
    return [one for one in period.charges if run in (None, one.usage.run_key)]


def days(ledger: Ledger, since: int, until: int | None, run: RunKey | None) -> Sequence[int]:
    """The begins (microseconds UTC) of the days that since … until and what the ledger has of
    everything, or of a run, both touch."""
    first, last = _span(ledger, run)
    begin = max(since, first) // DAY_MICROSECONDS * DAY_MICROSECONDS
    return range(begin, last if until is None else min(until, last), DAY_MICROSECONDS)


def _span(ledger: Ledger, run: RunKey | None) -> tuple[int, int]:
    """When the ledger's, or a run's, first row begins and its last ends; 0, 0 without any."""
    first, last = [], []
    with reading(ledger.engine) as connection:
        for table in [usage] if run else [usage, nodes]:
            query = select(
                func.min(table.c.start_microseconds), func.max(table.c.stop_microseconds)
            )
            if run:
                query = query.where(table.c.run_id == run[1])
            begin, end = connection.execute(query).one()
            if begin is not None:
                first.append(begin)
                last.append(end)
    return min(first, default=0), max(last, default=0)
