"""Who pays for what was charged, and its export; wherever the charges are from."""

import csv
import io
from pathlib import Path

from tally import storage
from tally.costing import chargeback, focus
from tally.costing.days import Charged
from tally.errors import SpecError
from tally.reports.chargeback_text import Shown, show_chargeback

LEFT_OUT = (
    "left out: idle, overhead and namespaces whose runs you may not list; only service accounts of "
    "the meter's namespace, and of those in its TALLY_METER_READERS, may read all"
)


UNLISTED = (
    "list prices: expected those of when it ran, got none of before Tally kept them; what was paid "
    "stands for them in ListCost and ListUnitPrice"
)


def is_unlisted(found: Charged) -> bool:
    """Whether the list price of something that was charged is not known."""
    lasted = (one.usage for one in found.charges if one.usage.phase != "queue")
    return any(row.list_price_usd_per_hour is None for row in lasted) or any(
        account.node.list_price_usd_per_hour is None for _, account in found.accounts
    )


def by(found: Charged, names: tuple[str, ...]) -> Shown:
    """Who pays for it, by these of chargeback.NAMES."""
    return show_chargeback(chargeback.chargeback(found.charges, found.accounts, names), names)


def write_focus(found: Charged, since: str, until: str, out: Path) -> int:
    """Write what was charged into a file, as FOCUS 1.2 CSV; how many rows.

    Raises:
        SpecError: nothing was charged then; the file stays as it was.
        RunError: the disk is full.
    """
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
            for row in focus.focus_rows(found.charges, found.accounts):
                writer.writerow(row)
                count += 1
            file.detach()  # it would close what atomic_file still syncs
    except OSError as error:
        raise SpecError(
            f"OUT: expected a file that can be written, got {out} ({error.strerror}); "
            "pass OUT=another/file.csv"
        ) from error
    return count
