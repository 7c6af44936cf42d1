"""Quotes before a run: of `tally quote`, and of submit on this machine."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from tally import clock, limits
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.quotation import Quotation
from tally.costing.scores import summarise
from tally.data import registry as datasets
from tally.machines.catalogue import load
from tally.runs import pipelines
from tally.runs.checking import check_here
from tally.runs.preparing import prepared
from tally.spec import Spec
from tally.steps import profiles, quoting
from tally.steps.asked import Asked
from tally.steps.past import scores
from tally.steps.profiles import PROFILE_SECONDS, Training
from tally.userfile import is_user_file

WORTH_SECONDS = 60.0  # of listed training: below that a profile would cost more than it tells
SCHEMA = 1


def quote(name: str, settings: dict[str, str], *, again: bool = False) -> Quotation:
    """The quote of a pipeline on this machine, measured where the ledger does not know its steps.

    Args:
        name: a packaged pipeline, or the path of the user's own file.
        settings: parameters over the pipeline's presets.
        again: measure anew what is known already.

    Raises:
        SpecError: bad input; nothing meets the budget, the deadline or the objective.
        RunError: a worker of the profile died.
    """
    began = time.monotonic()
    pipeline = pipelines.load(name)
    spec = check_here(pipelines.spec(pipeline, settings))
    with open_ledger() as ledger:
        asked = _asked(pipeline.name, spec, clock.now_microseconds(), None)
        left = PROFILE_SECONDS - (time.monotonic() - began)
        _measure(ledger, asked, everything=True, again=again, seconds=left)
        return quoting.here(ledger, load(), asked)


def of_submit(
    ledger: Ledger, pipeline: str, spec: Spec, created_at_microseconds: int, started: int
) -> Quotation:
    """The quote of a run that is being submitted on this machine.

    Steps that the ledger does not know are measured only where that is worth its seconds: where
    something depends on them, or for a run that is long.

    Args:
        ledger: open.
        pipeline, spec: of the run.
        created_at_microseconds: of the run.
        started: when its submit began, microseconds on the run's clock.

    Raises:
        SpecError, RunError: as `quote`.
    """
    asked = _asked(pipeline, spec, created_at_microseconds, 0.0)
    if _worth_measuring(asked):
        _measure(ledger, asked, everything=False, again=False, seconds=PROFILE_SECONDS)
    begun = (clock.now_microseconds() - started) / 1e6
    return quoting.here(ledger, load(), replace(asked, begun=begun))


def of_cluster(name: str, settings: Mapping[str, str]) -> Quotation | None:
    """The quote of a run that is being submitted to a cluster, from listed throughput.

    None where the dataset is not packaged: it lies where pods reach it, and the run's own plan step
    quotes it.

    Args:
        name: a packaged pipeline, or the path of the user's own file.
        settings: parameters over the pipeline's presets.

    Raises:
        SpecError: bad input; the catalogue lacks the machine type; nothing meets the limits.
    """
    pipeline = pipelines.load(name)
    spec = pipelines.spec(pipeline, dict(settings))
    if spec.dataset not in datasets.names() or is_user_file(spec.model):
        return None
    from tally.steps import quoting_cluster

    asked = _asked(pipeline.name, spec, clock.now_microseconds(), 0.0)
    return quoting_cluster.there(load(), asked, {})


def past(ledger: Ledger) -> dict[str, Any]:
    """How far quotes were off, over all runs that have succeeded."""
    found = scores(ledger)
    summed = summarise(found)
    by_basis = {basis: [one for one in found if one.basis == basis] for basis in _bases(found)}
    return {
        "schema": SCHEMA,
        "all": asdict(summed) if summed else None,
        "by_basis": {
            basis: asdict(one) for basis, some in by_basis.items() if (one := summarise(some))
        },
        "runs": [
            {**asdict(one), "error_usd": one.error_usd, "error_seconds": one.error_seconds}
            for one in found
        ],
    }


def _bases(found: Any) -> list[str]:
    return sorted({one.basis for one in found})


def _asked(pipeline: str, spec: Spec, created: int, begun: float | None) -> Asked:
    limits.require_time(spec.deadline, created, clock.now_microseconds())
    dataset = prepared(spec)
    value = load().machine("local").value_of_hour_usd
    return Asked(
        pipeline=pipeline, spec=spec, dataset=dataset, value_of_hour_usd=value,
        created_at_microseconds=created, begun=begun,
    )  # fmt: skip


def _worth_measuring(asked: Asked) -> bool:
    spec = asked.spec
    if spec.elastic or spec.objective != "balanced" or spec.budget_usd or spec.deadline:
        return True
    return quoting.listed_seconds(spec, asked.dataset) > WORTH_SECONDS


def _measure(
    ledger: Ledger, asked: Asked, *, everything: bool, again: bool, seconds: float
) -> None:
    wanted = []
    for gang, sizes in profiles.wanted_sizes(asked.spec, everything=everything).items():
        training = Training(spec=asked.spec, dataset=asked.dataset, gang=gang)
        seen = {} if again else profiles.known(ledger, training)
        if missing := tuple(size for size in sizes if size not in seen):
            wanted.append((training, missing))
    if wanted:
        profiles.measure(ledger, wanted, seconds)
