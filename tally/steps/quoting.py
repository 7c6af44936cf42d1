"""A quote of a run: what is known of its steps and of runs like it, priced at every size.

Imports no TensorFlow: what is measured is measured in a process of its own.
"""

import os
from collections.abc import Sequence

from tally.baselines import registry as baselines
from tally.costing import overheads
from tally.costing.ledger import Ledger
from tally.costing.overheads import PastRun
from tally.costing.pace import Pace
from tally.costing.picking import pick
from tally.costing.plan import LOCAL
from tally.costing.quotation import Quotation
from tally.costing.quote import Candidate, Others, Range, Row, exactly, price, total
from tally.costing.scores import width as width_of
from tally.costing.sensitivity import what_ifs
from tally.data.format import Dataset
from tally.machines import throughput as listed
from tally.machines.machine_type import MachineType
from tally.machines.priced import Catalogue
from tally.models import registry
from tally.scaling.listed import changes
from tally.spec import Spec
from tally.steps import candidates, platform, profiles, sizes
from tally.steps.asked import Asked
from tally.steps.past import past_runs, scores
from tally.steps.planning import planned
from tally.steps.profiles import Training
from tally.steps.sizes import Timing

_START_GROWTH = 0.4  # of a start by each worker more, on as many cores
QUOTED_SECONDS = 1.8  # of submit, until it has quoted from what is known already


def here(ledger: Ledger, catalogue: Catalogue, asked: Asked) -> Quotation:
    """The quote of a run on this machine, from what the ledger knows.

    Raises:
        SpecError: nothing meets budget or deadline, nothing fits into memory.
    """
    spec, dataset, machine = asked.spec, asked.dataset, catalogue.machine(LOCAL)
    seen = _seen(ledger, spec, dataset)
    past = past_runs(ledger, asked.pipeline)
    width = width_of(scores(ledger))
    of = sizes.timing(spec, dataset, listed.of_cores(_cores(), None), seen, here=True)

    def start(workers: int) -> Range:
        usual = overheads.USUAL_SECONDS["train"] + _start_seconds(seen, workers)
        return overheads.part("train", past, spec.model, dataset.fingerprint, workers, "", usual)

    lone, _ = of.step(spec, 1, nodes=1)
    others = _others(asked, machine, past, lone.expected)
    own = [price(one, others, width) for one in sizes.here(machine, spec, dataset, of, start)]
    there = platform.others(asked)
    rows = [*own, *(price(one, there, width) for one in _elsewhere(catalogue, spec, dataset))]
    return quotation(asked, rows, others, width, {LOCAL: of}, {LOCAL: machine})


def quotation(
    asked: Asked,
    rows: list[Row],
    others: Others,
    width: float,
    timings: dict[str, Timing],
    machines: dict[str, MachineType],
) -> Quotation:
    """The rows with a pick, what would change it, and the plan."""
    spec = asked.spec
    picked, why = pick(rows, asked.limits())
    rows.sort(key=_order)
    cost = registry.cost(spec.model, asked.dataset.meta)
    examples = profiles.examples_per_worker(spec, picked.candidate.workers)
    changed = changes(cost, listed.of_cores(_cores(), None), examples)
    plan = planned(asked, rows, picked, why, others, timings, machines)
    return Quotation(
        pipeline=asked.pipeline,
        rows=tuple(rows),
        picked=picked,
        why=why,
        what_ifs=tuple(what_ifs(picked, rows, others, changed, width)),
        plan=plan,
        width=width,
        quoted_after_seconds=others.before.low if asked.begun is None else asked.begun,
        notes=_notes(picked, rows, spec),
    )


def _seen(ledger: Ledger, spec: Spec, dataset: Dataset) -> dict[int, Pace]:
    """What is known of the steps of the run's own kind of workers; of the other kind's the rest."""
    gang = profiles.is_gang(spec)
    own = profiles.known(ledger, Training(spec=spec, dataset=dataset, gang=gang))
    if gang:
        return own
    several = profiles.known(ledger, Training(spec=spec, dataset=dataset, gang=True))
    return {**{k: one for k, one in several.items() if k > 1}, **own}


def _others(
    asked: Asked, machine: MachineType, past: Sequence[PastRun], step_seconds: float
) -> Others:
    """What is not training, of a run on this machine: it holds the machine all the time."""
    spec, dataset = asked.spec, asked.dataset
    examples = len(dataset.splits["train"])
    beside = baselines.missing_seconds(spec.baseline, dataset)
    usual = dict(overheads.USUAL_SECONDS)
    usual["evaluate"] = candidates.usual_seconds(spec, examples, step_seconds, beside)
    made = candidates.judged(spec, beside)
    of = {
        name: overheads.part(
            name, past, spec.model, dataset.fingerprint, 1, made, usual[name]
        )
        for name in overheads.PARTS
        if name != "train"
    }  # fmt: skip
    quoted = overheads.typical([], QUOTED_SECONDS) if asked.begun is None else exactly(asked.begun)
    return Others(
        before=total([quoted, of["submit"], of["prepare"], of["plan"]]),
        after=total([of["evaluate"], of["bill"]]),
        usd_per_hour=machine.price_usd_per_hour,
        software_usd_per_hour=machine.software_usd_per_hour,
        value_of_hour_usd=asked.value_of_hour_usd,
    )


def _start_seconds(seen: dict[int, Pace], workers: int) -> float:
    """Until a gang trains: as a profile of its size had it, else more the more share the cores."""
    if (own := seen.get(workers)) and own.start_seconds:
        return own.start_seconds
    lone = seen[1].start_seconds if 1 in seen else 0.0
    return (lone or overheads.WORKERS_START_SECONDS) * (1 + _START_GROWTH * (workers - 1))


def _elsewhere(catalogue: Catalogue, spec: Spec, dataset: Dataset) -> list[Candidate]:
    """Machine types of clusters, for what other hardware would take: nothing is measured there."""
    found: list[Candidate] = []
    for machine in catalogue.machine_types.values():
        room = listed.throughput(machine)
        if machine.kubernetes is not None:
            of = sizes.timing(spec, dataset, room or listed.of_cores(1, None), {}, here=False)
            found += sizes.elsewhere(machine, spec, dataset, of, platform.start, allowed=False)
    return found


def _notes(picked: Row, rows: Sequence[Row], spec: Spec) -> tuple[str, ...]:
    """Whether another number of workers would be cheaper, where that was not Tally's to choose."""
    own = [
        row
        for row in rows
        if row.candidate.machine_type == picked.candidate.machine_type
        and not row.candidate.excluded
    ]
    best = min(own, key=lambda row: row.usd.expected)
    if best is picked or spec.elastic or best.candidate.allowed:
        return ()
    saved = picked.usd.expected - best.usd.expected
    return (
        f'{best.name} would cost ${saved:.2g} less: pass SET="workers={best.candidate.workers}"',
    )


def _order(row: Row) -> tuple[bool, bool, bool, float]:
    size = row.candidate
    return bool(size.excluded), not size.allowed, size.machine_type != LOCAL, row.usd.expected


def _cores() -> float:
    return float(os.cpu_count() or 1)


def listed_seconds(spec: Spec, dataset: Dataset) -> float:
    """What training on this machine would take by the catalogue alone."""
    of = sizes.timing(spec, dataset, listed.of_cores(_cores(), None), {}, here=True)
    step, _ = of.step(spec, spec.workers, nodes=1)
    return step.expected * sizes.full_steps(spec, dataset)
