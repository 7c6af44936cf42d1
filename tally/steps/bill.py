"""bill: what the run has used so far and what that cost, out of the ledger or from the meter."""

import html
from pathlib import Path

from tally.costing.bill import Bill
from tally.costing.ledger import open_ledger
from tally.costing.quotes import Quote
from tally.errors import RunError, TallyError
from tally.steps.step import Step, step
from tally.storage import atomic_file

NO_METER = (
    "no bill: this pod has no TALLY_METER_URL; install the meter and set TALLY_POD_METER_URL where "
    "pipelines are submitted"
)
NOT_NOW = "no bill yet: {}; `tally bill {}` has it as soon as the meter is there again"
METER_SECONDS = 45.0  # a meter that is just being replaced; who cancels waits a minute for news
_COLUMNS = 100


def run(page: str) -> dict[str, float]:
    """The bill step: the run is known by the environment, an exit task cannot take outputs.

    Args:
        page: where the HTML artifact goes.

    Returns:
        The bill's totals by name, in USD; nothing where a cluster has no meter, none that answers,
        or no token for it: the run is as good.
    """
    from tally.reports.artifacts import bill_html

    with step("bill") as here:
        bill = _bill(here)
        if isinstance(bill, str):
            here.event("unbilled", message=bill)
            Path(page).write_text(f"<p>{html.escape(bill)}</p>")
            return {}
        quote = _quote(here)
        with atomic_file(Path(page)) as file:
            file.write(bill_html(bill, quote).encode())
        _print(bill, quote)
        here.event("progress", done=1, total=1, unit="bill")
    return {
        "hardware_usd": float(bill.hardware_usd),
        "software_usd": float(bill.software_usd),
        "time_usd": float(bill.time_usd),
        "total_usd": float(bill.total_usd),
    }


def _bill(here: Step) -> Bill | str:
    """From the meter, in a pod that has one: its ledger is not here; or why there is none."""
    if here.outbox is None:
        return NO_METER if here.run.in_pod else open_ledger().bill(here.run_id)
    from tally.meterhttp import NoToken
    from tally.steps.metering import required_client

    try:
        return required_client().bill(here.run_id, seconds=METER_SECONDS)
    except NoToken as refused:
        return f"no bill: {refused}"
    except RunError as silent:
        return NOT_NOW.format(silent, here.run_id)


def _quote(here: Step) -> Quote | None:
    """What the run was quoted; None where nobody kept it."""
    if here.outbox is None:
        return open_ledger().quote(here.run_id)
    from tally.steps.metering import required_client

    try:
        return required_client().quote(here.run_id)
    except TallyError:  # the bill is what counts
        return None


def _print(bill: Bill, quote: Quote | None) -> None:
    """Into the step's log, which Kubeflow's UI shows too."""
    from rich.console import Console

    from tally.reports.quote_text import against
    from tally.reports.text import bill_table

    console = Console(width=_COLUMNS)
    console.print(bill_table(bill))
    if quote is not None:
        console.print(f"so far: {against(quote, bill)}", highlight=False)
