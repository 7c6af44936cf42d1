"""bill: what the run has used so far and what that cost, out of the ledger or from the meter."""

from pathlib import Path

from tally.costing.bill import Bill
from tally.costing.ledger import open_ledger
from tally.kube.here import is_here
from tally.steps.step import Step, step
from tally.storage import atomic_file

NO_METER = (
    "no bill: this pod has no TALLY_METER_URL; install the meter and set TALLY_POD_METER_URL where "
    "pipelines are submitted"
)
METER_SECONDS = 150.0  # a run must not fail because the meter is just being replaced


def run(page: str) -> dict[str, float]:
    """The bill step: the run is known by the environment, an exit task cannot take outputs.

    Args:
        page: where the HTML artifact goes.

    Returns:
        The bill's totals by name, in USD; nothing where a cluster has no meter: the run is as good.
    """
    from tally.reports.artifacts import bill_html

    with step("bill") as here:
        if here.outbox is None and is_here():
            here.event("unbilled", message=NO_METER)
            Path(page).write_text(f"<p>{NO_METER}</p>")
            return {}
        bill = _bill(here)
        with atomic_file(Path(page)) as file:
            file.write(bill_html(bill).encode())
        here.event("progress", done=1, total=1, unit="bill")
    return {
        "hardware_usd": float(bill.hardware_usd),
        "software_usd": float(bill.software_usd),
        "time_usd": float(bill.time_usd),
        "total_usd": float(bill.total_usd),
    }


def _bill(here: Step) -> Bill:
    """From the meter, in a pod that has one: its ledger is not here."""
    if here.outbox is None:
        return open_ledger().bill(here.run_id)
    from tally.meterclient import required_client

    return required_client().bill(here.run_id, seconds=METER_SECONDS)
