"""Following a run to its end: at most one request a second, whatever the server does meanwhile."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tally.errors import RunError, SpecError
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.refusals import ApiFailed, ApiRefused
from tally.runs.kubeflow.showing import Shown
from tally.runs.kubeflow.steps import outcome, steps

POLL_SECONDS = 1.0
REQUEST_SECONDS = 15.0
OUTAGE_SECONDS = 600.0
TERMINATE_SECONDS = 30.0  # the server itself tries for 9 s
_LONGEST_PAUSE_SECONDS = 10.0


def get_run(connection: Connection, run_id: str) -> dict[str, Any]:
    """The run as the server shows it now.

    Raises:
        ApiRefused: there is none. ApiFailed: no answer.
    """
    return connection.request(
        "GET", f"runs/{run_id}", what=f"see run {run_id}", seconds=REQUEST_SECONDS, repeat=False
    )


def watch(
    connection: Connection,
    run_id: str,
    names: Sequence[str],
    shown: Shown,
    reasons: Callable[[], Mapping[str, str]],
    seconds: float | None = None,
) -> dict[str, Any]:
    """Show a run until it has ended; the run as it ended.

    Args:
        names: of its tasks, in order; none where they are not known.
        shown: where it is drawn.
        reasons: by step, why it waits, as of now.
        seconds: how long to wait for the end, or for any step's next state; None is for ever.

    Raises:
        RunError: the server has not answered for 10 minutes, or nothing has changed in time.
        SpecError: the run is gone, or the credentials are no longer taken.
    """
    moved = answered = time.monotonic()
    before: object = None
    pause = POLL_SECONDS
    while True:
        asked = time.monotonic()
        try:
            run = get_run(connection, run_id)
        except ApiFailed as error:
            if asked - answered > OUTAGE_SECONDS:
                raise RunError(f"{error}; {_goes_on(run_id)}") from error
            if pause == POLL_SECONDS:
                shown.note(f"the server does not answer ({error.status or error.words}); the run "
                           "goes on, asking again")  # fmt: skip
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        except SpecError as error:
            gone = isinstance(error, ApiRefused) and error.status == 404
            raise SpecError(str(error) if gone else f"{error}; {_goes_on(run_id)}") from error
        else:
            answered, pause = time.monotonic(), POLL_SECONDS
            now = steps(run, names), str(run.get("state") or "")
            shown.show(*now, reasons())
            if now != before:
                before, moved = now, answered
            if outcome(run):
                return run
        if seconds is not None and time.monotonic() - moved > seconds:
            raise _nothing_new(connection, run_id, seconds)
        time.sleep(max(0.0, asked + pause - time.monotonic()))


def terminate(connection: Connection, run_id: str) -> None:
    """Ask the server to end a run; it has not ended yet when this returns.

    Raises:
        ApiRefused: there is none, or it may not be ended. ApiFailed: no answer, or its Workflow is
            gone.
    """
    try:
        connection.request("POST", f"runs/{run_id}:terminate", what=f"end run {run_id}",
                           seconds=TERMINATE_SECONDS)  # fmt: skip
    except ApiRefused as error:
        # 400 "Row not found" is the server's word for a run that has ended meanwhile
        if error.status != 400 or not outcome(get_run(connection, run_id)):
            raise


def _nothing_new(connection: Connection, run_id: str, seconds: float) -> RunError:
    return RunError(
        f"run {run_id}: expected its end, got nothing new for {seconds:.0f} s; look at it "
        f"in Kubeflow's UI ({connection.run_link(run_id)})"
    )


def _goes_on(run_id: str) -> str:
    return f"the run may go on: `make watch RUN={run_id}`"
