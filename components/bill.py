"""Say what the run used and what it cost: the exit handler, on success and on failure."""

from kfp.dsl import HTML, Metrics, Output

from components.component import component


@component
def bill(metrics: Output[Metrics], page: Output[HTML]):
    """The bill so far, by step and phase, out of the ledger; the run is known by TALLY_RUN_ID."""
    from tally.steps.image import require

    require("bill")
    from tally.steps.bill import run

    for name, value in run(page.path).items():
        metrics.log_metric(name, value)
