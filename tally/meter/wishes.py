"""What somebody wants of a run that trains: kept as an event, which its conductor asks for."""

from collections.abc import Iterable
from typing import Any

from tally.costing.ledger import Ledger
from tally.costing.quotes import GANG, RESIZE_ASKED, Kept, RunEvent
from tally.machines.catalogue import machine
from tally.meter import bodies, keeping
from tally.meter.posts import PostedResize
from tally.meter.refusal import Refusal
from tally.meter.taking import OwnRun

_TRAIN = "train"
_ENDS = frozenset({"step_ended", "failed"})


def take_resize(ledger: Ledger, run: OwnRun, by: str, body: dict[str, Any]) -> dict[str, Any]:
    """Keep that somebody wants another number of workers.

    Args:
        by: whose wish it is; the caller may change the run.

    Raises:
        Refusal: 400, a bad field; 409, the run does not train now; 413, too many events; 422, more
            workers than it may have. SpecError: no such machine type.
    """
    asked = bodies.posted(body.get("resize"), "resize", PostedResize)
    if asked.machine_type:
        machine(asked.machine_type)
    kinds = (GANG, RESIZE_ASKED, *_ENDS)
    there = ledger.events(run.id, run.namespace, kinds)
    if any(one.facts.get("wish") == asked.wish for one in there if one.kind == RESIZE_ASKED):
        return {"accepted": 1}
    record = ledger.run(run.id, run.namespace)
    gang = trains(there)
    if gang is None or (record is not None and record.state != "running"):
        raise Refusal(
            409, f"run {run.id}: expected one that trains, got one that does not now; see its steps"
        )
    most = gang.facts["max_workers"]
    if asked.workers > most:
        raise Refusal(
            422,
            f"run {run.id}: expected 1 to {most} workers (max_workers), got {asked.workers}; "
            f'submit with SET="max_workers={asked.workers}"',
        )
    facts = {**asked.model_dump(), "by": by}
    room = Kept(1, keeping.size(facts))
    keeping.require_events(ledger.events_kept(run.id, run.namespace), room, {RESIZE_ASKED})
    after = max((one.at_microseconds + 1 for one in there if one.kind == RESIZE_ASKED), default=0)
    event = RunEvent(
        run_id=run.id,
        at_microseconds=max(run.now_microseconds, after),
        kind=RESIZE_ASKED,
        step=_TRAIN,
        facts=facts,
        namespace=run.namespace,
    )
    ledger.write_events([event])
    return {"accepted": 1}


def trains(events: Iterable[RunEvent]) -> RunEvent | None:
    """The gang with which a run trains now, None where it does not. Pure.

    Args:
        events: of the run, in order.
    """
    gang: RunEvent | None = None
    for event in events:
        if event.kind == GANG and isinstance(event.facts.get("max_workers"), int):
            gang = event
        elif event.kind in _ENDS and event.step == _TRAIN:
            gang = None
    return gang
