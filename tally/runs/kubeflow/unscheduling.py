"""Waiting for a schedule's runs: deleted before their end they would stay RUNNING for ever."""

import json
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from tally.errors import RunError, TallyError
from tally.runs.kubeflow import watching
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.refusals import ApiRefused
from tally.runs.kubeflow.schedules import Schedule
from tally.runs.kubeflow.steps import outcome

WAIT_SECONDS = 3600.0
SETTLE_SECONDS = 3.0  # a run that was being made when the schedule was paused is seen by then
_GOING_ON = ["RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "PAUSED", "CANCELING"]
_NEWEST = "50"


def drain(
    connection: Connection, schedule: Schedule, console: Console, *,
    cancel: bool, seconds: float, otherwise: str,
) -> None:  # fmt: skip
    """Wait until no run of a schedule goes on. It has been paused.

    Args:
        cancel: end them first.
        seconds: for all of them.
        otherwise: what then becomes of the schedule, for the error's line.

    Raises:
        RunError: one goes on, or the server does not answer.
    """
    deadline = time.monotonic() + seconds
    time.sleep(SETTLE_SECONDS)
    try:
        while going_on := list(runs_of(connection, schedule)):
            for run in going_on:
                console.print(f"waits for the end of run {run['run_id']} ({run['display_name']})",
                              markup=False, highlight=False, soft_wrap=True)  # fmt: skip
                if cancel:
                    watching.terminate(connection, str(run["run_id"]))
            for run in going_on:
                _until_ended(connection, str(run["run_id"]), deadline)
    except TallyError as error:
        raise RunError(f"schedule {schedule.name}: {error}; {otherwise}") from error


def runs_of(connection: Connection, schedule: Schedule) -> Iterator[dict[str, Any]]:
    """Its runs that go on.

    Two looks: by state, however old they are; and the newest of all, since a run that has just been
    made has no state yet.

    Raises:
        As Connection.request.
    """
    by_state = {"operation": "IN", "key": "state", "stringValues": {"values": _GOING_ON}}
    what = f"list the runs of {schedule.name}"
    query = {"experiment_id": schedule.experiment_id, "sort_by": "created_at desc"}
    newest = connection.request("GET", "runs", query={**query, "page_size": _NEWEST}, what=what)
    known = connection.pages(
        "runs", "runs", {**query, "filter": json.dumps({"predicates": [by_state]})}, what=what
    )
    found = {str(run["run_id"]): run for run in [*(newest.get("runs") or []), *known]}
    for run in found.values():
        if run.get("recurring_run_id") == schedule.id and not outcome(run):
            yield run


def _until_ended(connection: Connection, run_id: str, deadline: float) -> None:
    while True:
        try:
            if outcome(watching.get_run(connection, run_id)):
                return
        except ApiRefused as error:
            if error.status == 404:  # somebody has deleted it
                return
            raise
        if time.monotonic() > deadline:
            raise RunError(
                f"expected the end of run {run_id} in time, got none; wait, `make cancel "
                f"RUN={run_id}`, or pass --cancel"
            )
        time.sleep(watching.POLL_SECONDS)
