"""Runs on the server: one by what a person calls it, and the newest of all."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from tally.errors import SpecError
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.watching import get_run

_WHOLE_ID = 36
_SHORTEST = 6
_NEWEST = 1000


def find_run(connection: Connection, text: str) -> dict[str, Any]:
    """The run that `text` names: its id, 6 or more of its first or last characters, or its name.

    Raises:
        SpecError: none, or several. RunError: the server does not answer.
    """
    wanted = text.strip().lower()
    if len(wanted) == _WHOLE_ID:
        return get_run(connection, wanted)
    found = [run for run in newest(connection, _NEWEST) if _is_called(run, wanted)]
    if len(found) != 1:
        raise SpecError(
            f"run: expected its id, {_SHORTEST} or more characters of its beginning or end, or its "
            f'name, of one run at {connection.settings.host}, got "{text}" ({len(found)} runs); '
            "`make runs` lists them, ENGINE=local those of this machine"
        )
    return found[0]


def whole_run(connection: Connection, text: str) -> dict[str, Any]:
    """The same with all that the server has of it: lists leave out what the steps came to.

    Raises:
        As find_run.
    """
    return get_run(connection, str(find_run(connection, text)["run_id"]))


def newest(connection: Connection, count: int) -> Iterator[dict[str, Any]]:
    """At most so many runs, the newest first."""
    query = {
        "namespace": connection.namespace,
        "sort_by": "created_at desc",
        "page_size": str(min(count, 100)),
    }
    return islice(connection.pages("runs", "runs", query, what="list the runs"), count)


def _is_called(run: dict[str, Any], wanted: str) -> bool:
    run_id, name = str(run.get("run_id")), str(run.get("display_name")).lower()
    if name == wanted:
        return True
    return len(wanted) >= _SHORTEST and (run_id.startswith(wanted) or run_id.endswith(wanted))
