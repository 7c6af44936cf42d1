"""A run's limits when it goes on: they can be raised, and have to leave it something."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tally import clock, events, limits, storage
from tally.costing.runs import RunRecord
from tally.costing.spending import money
from tally.errors import SpecError
from tally.spec import Spec, validate

RAISABLE = ("budget_usd", "deadline", "objective")


def again(
    run: RunRecord, folder: Path, settings: Mapping[str, str], spent_usd: float
) -> dict[str, Any]:
    """The spec of a run that goes on.

    Args:
        run: as the ledger has it.
        folder: the run's.
        settings: other limits than it had.
        spent_usd: its bill so far.

    Raises:
        SpecError: another parameter, or limits that leave nothing.
    """
    for name in settings:
        if name not in RAISABLE:
            raise SpecError(
                f"resume: expected one of {', '.join(RAISABLE)}, got {name}; a run goes on with "
                "its own parameters: submit a new one for others"
            )
    spec: Spec = validate("resume", {**run.spec, **settings})
    limits.require_time(spec.deadline, run.created_at_microseconds, clock.now_microseconds())
    budget = spec.limit_usd
    too_little = max([spent_usd, *_stopped_at(folder, run.attempt)])
    if budget is not None and budget <= too_little:
        raise SpecError(
            f"budget_usd: expected more than the {money(spent_usd)} that run {run.id} has cost so "
            f'far, got {spec.budget_usd}; pass SET="budget_usd={2 * spent_usd:.2g}"'
        )
    return spec.model_dump()


def _stopped_at(folder: Path, attempt: int) -> list[float]:
    """The budget that the last attempt stopped at: with no more the next would only start."""
    return [
        event["budget_usd"]
        for event in events.read(folder)
        if event["event"] == "stopped" and event["attempt"] == attempt and event["budget_usd"]
    ]


def keep(folder: Path, spec: Mapping[str, Any]) -> None:
    """Write the spec into the run's own file, which the engine reads."""
    asked = json.loads((folder / "run.json").read_text())
    with storage.atomic_file(folder / "run.json") as file:
        file.write(json.dumps({**asked, "spec": dict(spec)}).encode())
