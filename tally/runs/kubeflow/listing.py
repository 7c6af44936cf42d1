"""The runs of an installation, newest first, with what the meter says each cost."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tally.costing.bill import Bill
from tally.costing.runs import RunRecord
from tally.errors import TallyError
from tally.meterclient import MeterClient
from tally.reports.words import result_of
from tally.runs.kubeflow.connection import Connection, connect
from tally.runs.kubeflow.finding import newest
from tally.runs.kubeflow.steps import outcome

SCHEMA = 1
COUNT = 100
SHORT_ID = 8


@dataclass(frozen=True)
class Row:
    """A run.

    Attributes:
        state: "pending", "running", …, or how it ended.
        bill: None where no meter is asked, or it does not know the run.
    """

    run_id: str
    name: str
    pipeline: str
    state: str
    created_at: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    words: Mapping[str, Any]
    bill: Bill | None

    def cells(self) -> list[str]:
        """For a table: id, pipeline, state, began, result, cost."""
        return [
            self.run_id[:SHORT_ID],
            self.pipeline,
            self.state,
            f"{datetime.fromisoformat(self.created_at):%Y-%m-%d %H:%M}" if self.created_at else "",
            result_of(self.metrics, self.words),
            "" if self.bill is None else f"${self.bill.total_usd:.4f}",
        ]

    def as_json(self) -> dict[str, Any]:
        """As `tally runs --json` lists it."""
        return {
            "id": self.run_id,
            "name": self.name,
            "pipeline": self.pipeline,
            "state": self.state,
            "cost_usd": None if self.bill is None else float(self.bill.total_usd),
            "metrics": dict(self.metrics),
            "spec": dict(self.parameters),
        }


def listed(count: int = COUNT) -> list[Row]:
    """The newest runs.

    Raises:
        SpecError, RunError: as connect and Connection.request.
    """
    connection = connect()
    metered = _metered(connection.settings.namespace)
    names = _pipelines(connection)
    return [_row(run, names, metered) for run in newest(connection, count)]


def rows_json(rows: list[Row]) -> dict[str, Any]:
    """`tally runs --json`."""
    return {"schema": SCHEMA, "runs": [row.as_json() for row in rows]}


def _row(
    run: Mapping[str, Any],
    names: Mapping[str, str],
    metered: Mapping[str, tuple[RunRecord, Bill]],
) -> Row:
    end = outcome(run)
    run_id, name = str(run["run_id"]), str(run.get("display_name") or "")
    record, bill = metered.get(run_id, (None, None))
    reference = run.get("pipeline_version_reference") or {}
    spec = run.get("pipeline_spec") or {}
    inline = (spec.get("pipeline_spec") or spec).get("pipelineInfo") or {}
    return Row(
        run_id=run_id,
        name=name,
        pipeline=names.get(str(reference.get("pipeline_id")), "") or inline.get("name") or name,
        state=end.state if end else str(run.get("state") or "pending").lower(),
        created_at=str(run.get("created_at") or ""),
        parameters=(run.get("runtime_config") or {}).get("parameters") or {},
        metrics=record.metrics if record else {},
        words=record.words if record else {},
        bill=bill,
    )


def _pipelines(connection: Connection) -> dict[str, str]:
    """Pipelines' names by id."""
    query = {"namespace": connection.namespace}
    rows = connection.pages("pipelines", "pipelines", query, what="list the pipelines")
    return {str(row["pipeline_id"]): str(row.get("display_name") or "") for row in rows}


def _metered(namespace: str) -> dict[str, tuple[RunRecord, Bill]]:
    """By run id, this namespace's where others have it too; a list without costs is better than
    none."""
    try:
        meter = MeterClient.from_environment()
        found = [] if meter is None else meter.runs()
        found.sort(key=lambda one: one[0].namespace == namespace)
        return {run.id: (run, bill) for run, bill in found}
    except TallyError as error:
        print(error, file=sys.stderr)
        return {}
