"""A quote of a run whose workers are pods: what the meter knows of their steps, else listed."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tally.costing.pace import Pace, pace
from tally.costing.profile import Profile
from tally.costing.quotation import Quotation
from tally.costing.quote import Candidate, price
from tally.costing.quotes import Quote
from tally.errors import TallyError
from tally.machines import throughput as listed
from tally.machines.machine_type import MachineType
from tally.machines.priced import Catalogue
from tally.spec import Spec
from tally.steps import platform, sizes
from tally.steps.asked import Asked
from tally.steps.quoting import quotation
from tally.steps.sizes import Timing
from tally.steps.step import Step

RUNS_LOOKED_AT = 20

Seen = Mapping[str, Mapping[int, Pace]]
"""Measured steps by machine type and number of workers."""


def there(catalogue: Catalogue, asked: Asked, seen: Seen) -> Quotation:
    """The quote of a run on this cluster.

    Args:
        catalogue: machine types; one that the run names has to be in it.
        asked: the run.
        seen: what was measured on this cluster.

    Raises:
        SpecError: the catalogue lacks the machine type, or it is none of a cluster; nothing meets
            budget or deadline, nothing fits into memory.
    """
    spec, dataset = asked.spec, asked.dataset
    machines: dict[str, MachineType] = {}
    timings: dict[str, Timing] = {}
    candidates: list[Candidate] = []
    if spec.machine_type:
        _require(catalogue.machine(spec.machine_type))
    else:
        room = listed.of_cores(1.0, None)
        timings[""] = sizes.timing(spec, dataset, room, seen.get("", {}), here=False)
        candidates += sizes.any_node(spec, dataset, timings[""], platform.start)
    for name, machine in catalogue.machine_types.items():
        if machine.kubernetes is None:
            continue
        measured = seen.get(name, {})
        chosen = name == spec.machine_type
        allowed = chosen or (not spec.machine_type and (bool(measured) or spec.allow_listed))
        found = listed.throughput(machine) or listed.of_cores(1.0, None)
        of = sizes.timing(spec, dataset, found, measured, here=False)
        candidates += sizes.elsewhere(machine, spec, dataset, of, platform.start, allowed=allowed)
        if allowed:
            machines[name], timings[name] = machine, of
    others = platform.others(asked)
    rows = [price(one, others) for one in candidates]
    return quotation(asked, rows, others, 1.0, timings, machines)


def _require(machine: MachineType) -> None:
    from tally.kube.template import worker_template

    worker_template(machine, "image")  # refuses what is none of a cluster


def seen(here: Step, spec: Spec) -> Seen:
    """What runs of the same model and batch measured on this cluster, newest first.

    Nothing where there is no meter, or it does not answer: then listed throughput is what there is.
    """
    if here.outbox is None:
        return {}
    from tally.steps.metering import required_client

    found: dict[tuple[str, int], list[Profile]] = defaultdict(list)
    try:
        client = required_client()
        runs = [
            run for run, _ in client.runs(limit=RUNS_LOOKED_AT) if run.pipeline == here.pipeline
        ]
        for run in runs:
            for event in client.events(run.id, run.namespace):
                if event.kind == "profile" and _alike(event.facts, spec):
                    one = _profile(run.id, event.at_microseconds, event.facts)
                    found[one.machine_type, one.workers].append(one)
    except (TallyError, KeyError, TypeError, ValueError) as error:
        here.event("note", message=f"plan: nothing of earlier runs is known: {error}")
    paces: dict[str, dict[int, Pace]] = defaultdict(dict)
    for (machine_type, workers), seen_here in found.items():
        paces[machine_type][workers] = pace(seen_here)
    return paces


def keep(here: Step, quote: Quote) -> None:
    """Give the quote to the meter, which keeps it for the bill and the alerts."""
    if here.outbox is None:
        return
    from tally.steps.metering import required_client

    try:
        required_client().post_quote(quote)
    except TallyError as error:  # the run is as good
        here.event("note", message=f"plan: the meter did not take the quote: {error}")


def _alike(facts: Mapping[str, Any], spec: Spec) -> bool:
    return (
        facts.get("model") == spec.model
        and facts.get("batch_size") == spec.batch_size
        and facts.get("deterministic") == spec.deterministic
        and facts.get("collective") == spec.collective
    )


def _profile(run_id: str, at: int, facts: Mapping[str, Any]) -> Profile:
    return Profile(
        profile_id=run_id,
        key="",
        machine_type=str(facts["machine_type"]),
        workers=int(facts["workers"]),
        made_at_microseconds=at,
        source="run",
        run_id=run_id,
        step_seconds=float(facts["step_seconds"]),
        spread=0.0,
        document=dict(facts),
    )
