"""Going on with a run on a cluster that did not succeed: Kubeflow's own retry, under its id."""

import time
from collections.abc import Mapping
from typing import Any

from tally.errors import RunError, SpecError
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.steps import outcome
from tally.runs.kubeflow.watching import get_run

BEGIN_SECONDS = 60.0
_LOOK_SECONDS = 1.0


def retry(connection: Connection, run: Mapping[str, Any]) -> dict[str, Any]:
    """Have its failed steps run again; the run once it goes on.

    Training goes on from its last checkpoint. Kubeflow does not run the exit task again.

    Args:
        connection: to the server.
        run: its answer.

    Raises:
        SpecError: it goes on, or has succeeded. RunError: the server does not answer, or does not
            begin it again in time.
    """
    run_id, end = str(run["run_id"]), outcome(run)
    if end is None or end.state in ("succeeded", "skipped"):
        state = end.state if end else "one that goes on (`make watch` follows it)"
        raise SpecError(f"run {run_id}: expected one that failed or was cancelled, got {state}")
    before = len(run.get("state_history") or [])
    connection.request("POST", f"runs/{run_id}:retry", what=f"retry run {run_id}", repeat=False)
    deadline = time.monotonic() + BEGIN_SECONDS
    while True:
        now = get_run(connection, run_id)
        # it may have failed again before anybody looked
        if outcome(now) is None or len(now.get("state_history") or []) > before:
            return now
        if time.monotonic() > deadline:
            raise RunError(
                f"run {run_id}: expected Kubeflow to begin it again within {BEGIN_SECONDS:.0f} s, "
                f"got {now.get('state')}; look at {connection.run_link(run_id)}"
            )
        time.sleep(_LOOK_SECONDS)
