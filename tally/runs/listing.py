"""Looking back: runs with their cost, their logs, their page."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tally import events, storage
from tally.costing.bill import Bill
from tally.costing.ledger import Ledger, open_ledger
from tally.costing.runs import RunRecord
from tally.errors import SpecError
from tally.meterclient import MeterClient
from tally.reports.words import result_of
from tally.runs.identity import living_owner

SCHEMA = 1
SHORT_ID = 13  # a UUIDv7's time, to the millisecond: enough to name a run


@dataclass(frozen=True)
class Row:
    """A run with its bill."""

    run: RunRecord
    bill: Bill

    def cells(self) -> list[str]:
        """For a table: id, pipeline, state, began, result, cost."""
        began = datetime.fromtimestamp(self.run.created_at_microseconds / 1e6, UTC)
        return [
            self.run.id[:SHORT_ID],
            self.run.pipeline,
            self.run.state,
            f"{began:%Y-%m-%d %H:%M}",
            result_of(self.run.metrics, self.run.words),
            f"${self.bill.total_usd:.4f}",
        ]


def listed() -> list[Row]:
    """All runs, newest first, of this machine, or where TALLY_METER_URL is set of the cluster; one
    whose submit has died is closed on the way.

    Raises:
        RunError: the meter does not answer.
    """
    if meter := MeterClient.from_environment():
        return [Row(run, bill) for run, bill in meter.runs()]
    ledger = open_ledger()
    for run in ledger.runs():
        _close_if_dead(ledger, run)
    return [Row(run, bill) for run, bill in ledger.billed()]


def find(ledger: Ledger, text: str, namespace: str = "") -> RunRecord:
    """The run that `text` names, of this namespace where one is given, closed first if its submit
    has died.

    Raises:
        SpecError: none, or several.
    """
    run = ledger.find_run(text, namespace or None)
    return ledger.find_run(run.id) if _close_if_dead(ledger, run) else run


def _close_if_dead(ledger: Ledger, run: RunRecord) -> bool:
    """End a run that nobody owns any more, at its last sign of life; whether it was one."""
    if run.state != "running" or run.engine != "local" or living_owner(run.owner) is not None:
        return False
    ledger.close_open_rows(run.id, run.attempt)
    last = max((row.stop_microseconds for row in ledger.usage([run.id])), default=None)
    ledger.update_run(
        run.id,
        state="interrupted",
        owner="",
        error="submit was killed",
        ended_at_microseconds=last or run.created_at_microseconds,
    )
    return True


def row_json(run: RunRecord, bill: Bill) -> dict[str, Any]:
    """One run as `tally runs --json` lists it."""
    return {
        "id": run.id,
        "pipeline": run.pipeline,
        "state": run.state,
        "cost_usd": float(bill.total_usd),
        "metrics": dict(run.metrics),
        "attempt": run.attempt,
        "spec": dict(run.spec),
        "error": run.error,
    }


def rows_json(rows: list[Row]) -> dict[str, Any]:
    """`tally runs --json`."""
    return {"schema": SCHEMA, "runs": [row_json(row.run, row.bill) for row in rows]}


def log_files(run_id: str, step: str) -> list[Path]:
    """A run's logs, oldest first, or one step's.

    Raises:
        SpecError: there is none.
    """
    found = sorted(
        (storage.run_folder(run_id) / "logs").glob("*.log"), key=lambda p: p.stat().st_mtime
    )
    chosen = [path for path in found if not step or path.stem == step]
    if not chosen:
        names = ", ".join(path.stem for path in found) or "none yet"
        raise SpecError(
            f"run {run_id}: expected a log of {step or 'a step'}, got {names}; pass one as STEP"
        )
    return chosen


def page(ledger: Ledger, run: RunRecord, out: Path | None) -> Path:
    """Write a run's HTML page; where it is."""
    from tally.reports.report import write_report

    folder, named = storage.run_folder(run.id), (run.id, run.namespace)
    path = out or folder / "report.html"
    measured = folder / "evaluation.json"
    evaluation = json.loads(measured.read_text()) if measured.exists() else None
    bill, quote = ledger.bill(*named), ledger.quote(*named)
    write_report(run, bill, events.read(folder), evaluation, path, quote)
    return path
