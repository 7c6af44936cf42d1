"""bill: what the run has used so far and what that cost, out of the ledger."""

from pathlib import Path

from tally.costing.ledger import open_ledger
from tally.steps.step import step
from tally.storage import atomic_file


def run(page: str) -> dict[str, float]:
    """The bill step: the run is known by the environment, an exit task cannot take outputs.

    Args:
        page: where the HTML artifact goes.

    Returns:
        The bill's totals by name, in USD.
    """
    from tally.reports.artifacts import bill_html

    with step("bill") as here:
        bill = open_ledger().bill(here.run_id)
        with atomic_file(Path(page)) as file:
            file.write(bill_html(bill).encode())
        here.event("progress", done=1, total=1, unit="bill")
    return {
        "hardware_usd": float(bill.hardware_usd),
        "software_usd": float(bill.software_usd),
        "time_usd": float(bill.time_usd),
        "total_usd": float(bill.total_usd),
    }
