"""End a run on a cluster."""

from rich.console import Console

from tally.errors import SpecError
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.finding import find_run
from tally.runs.kubeflow.giving_back import give_back
from tally.runs.kubeflow.showing import Lines
from tally.runs.kubeflow.steps import outcome
from tally.runs.kubeflow.submitting import CANCEL_SECONDS
from tally.runs.kubeflow.watching import terminate, watch


def cancel(connection: Connection, text: str, console: Console) -> str:
    """Terminate a run, and wait until it has ended; its id and how it ended.

    Args:
        connection: to the server.
        text: its id, as much of it as is unique, or its name.
        console: where its steps' ends are said.

    Raises:
        SpecError: there is none, or it has ended before.
        RunError: the server does not answer, or nothing of the run has changed for a minute.
    """
    run = find_run(connection, text)
    run_id = str(run["run_id"])
    if end := outcome(run):
        raise SpecError(
            f"run {run_id}: expected one that is running, got {end.state}; see `make runs`"
        )
    terminate(connection, run_id)
    shown = Lines(console)
    give_back(run_id, connection.settings.pods_namespace, shown.note)
    last = outcome(watch(connection, run_id, (), shown, dict, CANCEL_SECONDS))
    assert last is not None
    return f"{last.state} {run_id}"
