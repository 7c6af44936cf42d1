"""plan: what the run will cost at every size, and where and how big it begins.

On this machine submit has quoted before there was a run, and the plan is that quote's. Imports no
TensorFlow; on a cluster nothing is profiled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally import clock
from tally.costing.ledger import open_ledger
from tally.costing.plan import Plan
from tally.costing.quotes import Quote
from tally.data.format import open_dataset
from tally.machines.catalogue import load
from tally.spec import Spec
from tally.steps import artifacts, quoting
from tally.steps.asked import Asked
from tally.steps.new_data import passed
from tally.steps.step import Step, step
from tally.storage import atomic_file


@dataclass(frozen=True)
class Planned:
    """The plan as JSON's types, and the quote's figures by name."""

    plan: dict[str, Any]
    figures: dict[str, float]


def run(dataset_folder: str, spec: dict[str, Any], page: str) -> Planned:
    """The plan step.

    Args:
        dataset_folder: from prepare.
        spec: the validated parameters.
        page: where the HTML artifact goes.

    Raises:
        SystemExit: nothing meets the budget, the deadline or the objective, nothing fits into
            memory, or the catalogue lacks the machine type; told in the run's events.
    """
    from tally.reports.artifacts import nothing_html, quote_html

    with step("plan") as here:
        if why := passed(spec):
            Path(page).write_text(nothing_html(why))
            here.event("progress", done=1, total=1, unit="plan")
            return Planned({}, {})
        asked = Spec.model_validate(spec)
        found = _there(here, asked, dataset_folder) if here.run.in_pod else None
        quote = found or _here(here, asked, dataset_folder)
        document = quote.document
        plan = Plan.from_json(document["plan"])
        with atomic_file(Path(page)) as file:
            file.write(quote_html(document).encode())
        here.event(
            "plan",
            machine_type=plan.machine_type,
            workers=plan.workers,
            low_usd=quote.low_usd,
            expected_usd=quote.expected_usd,
            high_usd=quote.high_usd,
            why=plan.why,
        )
        _print(document)
        here.event("progress", done=1, total=1, unit="plan")
    figures = {
        "low_usd": quote.low_usd,
        "expected_usd": quote.expected_usd,
        "high_usd": quote.high_usd,
        "expected_seconds": plan.expected_seconds,
        "workers": float(plan.workers),
    }
    return Planned(plan.as_json(), figures)


def _here(here: Step, spec: Spec, dataset_folder: str) -> Quote:
    """The quote that submit made, or that an earlier attempt had; else one of now."""
    ledger = open_ledger()
    quote = ledger.quote(here.run_id)
    if quote is not None and "plan" in quote.document:
        return quote
    record = ledger.run(here.run_id)
    now = clock.now_microseconds()
    created = record.created_at_microseconds if record else now
    asked = Asked(
        pipeline=here.pipeline,
        spec=spec,
        dataset=open_dataset(artifacts.dataset_folder(dataset_folder)),
        value_of_hour_usd=record.value_of_hour_usd
        if record
        else load().machine("local").value_of_hour_usd,
        created_at_microseconds=created,
        begun=(now - created) / 1e6,
    )
    quote = quoting.here(ledger, load(), asked).of_run(here.run_id, now, spec.limit_usd)
    ledger.put_quote(quote)
    return quote


def _there(here: Step, spec: Spec, dataset_folder: str) -> Quote:
    """The quote of a run on a cluster, from what its meter knows; the meter keeps it."""
    from tally.steps import quoting_cluster

    now = clock.now_microseconds()
    asked = Asked(
        pipeline=here.pipeline,
        spec=spec,
        dataset=open_dataset(artifacts.dataset_folder(dataset_folder)),
        value_of_hour_usd=load().machine("local").value_of_hour_usd,
        created_at_microseconds=now,
        begun=0.0,
    )
    made = quoting_cluster.there(load(), asked, quoting_cluster.seen(here, spec))
    quote = made.of_run(here.run_id, now, spec.limit_usd)
    quoting_cluster.keep(here, quote)
    return quote


def _print(document: Mapping[str, Any]) -> None:
    """Into the step's log, which Kubeflow's UI shows too."""
    from rich.console import Console

    from tally.reports.quote_text import quote_table

    Console(width=100).print(quote_table(document))
