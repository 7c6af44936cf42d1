"""The run, created exactly once.

The server has no key that makes a request repeatable: a POST whose answer was lost may have made a
run. So each submit gives its run a name that nobody else has, and looks that name up before it
asks again. Should the server have taken longer than that, the run that came later is removed.
"""

import contextlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

from tally.errors import RunError, TallyError
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.refusals import ApiFailed
from tally.runs.kubeflow.uploading import named

_ATTEMPTS = 4
# a request that got no answer may still be at work: how long it is looked for, in seconds
_LOOKS_SECONDS = (0.3, 0.7, 1.5)
_REQUEST_SECONDS = 20.0
_LOOK_REQUEST_SECONDS = 20.0


def unique_name(pipeline: str) -> str:
    """A run's name that no other run has: `cnn-6f1d0c2b9a4e`."""
    return f"{pipeline}-{secrets.token_hex(6)}"


def create_run(connection: Connection, body: Mapping[str, Any]) -> dict[str, Any]:
    """Create the run of this unique display_name; the server's answer.

    Raises:
        ApiRefused: the server says no.
        ApiFailed: it failed each time, and no run was made.
        RunError: it cannot be told whether a run was made.
    """
    doubtful = False
    for left in reversed(range(_ATTEMPTS)):
        try:
            run = connection.request(
                "POST", "runs", body, what="create the run", seconds=_REQUEST_SECONDS, repeat=False
            )
        except ApiFailed as error:
            doubtful = True
            found = _look(connection, body, error)
            if not found and not left:
                raise
            if not found:
                continue
            run = found[0]
        return _first_only(connection, body, run) if doubtful else run
    raise AssertionError("the last attempt returns or raises")


def _look(
    connection: Connection, body: Mapping[str, Any], error: ApiFailed
) -> list[dict[str, Any]]:
    """The runs of this name, the first one made first."""
    # 500 is the server's own word that it failed; the others come from what stands before it, or
    # from nobody, while it may be at work
    pauses = _LOOKS_SECONDS[:1] if error.status == 500 else _LOOKS_SECONDS
    found: list[dict[str, Any]] = []
    for pause in pauses:
        time.sleep(pause)
        if found := _of_name(connection, body):
            break
    return found


def _of_name(connection: Connection, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    query = {
        "experiment_id": str(body["experiment_id"]),
        "filter": named("name", str(body["display_name"])),
    }
    try:
        rows = list(
            connection.pages(
                "runs", "runs", query, what="look for the run", seconds=_LOOK_REQUEST_SECONDS
            )
        )
    except ApiFailed as error:
        raise RunError(
            f"run {body['display_name']}: expected to hear whether it was created, got "
            f"{error.status or 'no answer'} ({error.words}); look for that name in Kubeflow's UI "
            "before you submit again"
        ) from error
    return sorted(rows, key=lambda row: (str(row.get("created_at")), str(row.get("run_id"))))


def _first_only(
    connection: Connection, body: Mapping[str, Any], run: dict[str, Any]
) -> dict[str, Any]:
    """Keep the first run of this name, and remove any other."""
    rows = _of_name(connection, body) or [run]
    for row in rows[1:]:
        path = f"runs/{row['run_id']}"
        with contextlib.suppress(TallyError):  # it may end by itself meanwhile
            connection.request("POST", f"{path}:terminate", what="end a second run")
        connection.request("DELETE", path, what="remove a second run")
    return rows[0]
