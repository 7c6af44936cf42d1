"""The schedule, made exactly once: the server has no key that makes the request repeatable.

Where its answer was lost, what it would have made is looked for before it is asked again.
"""

import contextlib
import time
from collections.abc import Collection, Mapping
from typing import Any

from tally.errors import RunError, TallyError
from tally.runs.kubeflow.connection import Connection
from tally.runs.kubeflow.refusals import ApiFailed
from tally.runs.kubeflow.schedules import Schedule, enable, remove, schedule_of, schedules

LOOKS_SECONDS = (0.3, 0.7, 1.5)  # a request that got no answer may still be at work
LOOK_SECONDS = 20.0
_ATTEMPTS = 4


def make(connection: Connection, body: Mapping[str, Any], others: Collection[str] = ()) -> Schedule:
    """Make the recurring run of this display_name.

    Args:
        others: ids of those that have the name already.

    Raises:
        ApiRefused: the server says no.
        ApiFailed: it failed each time, and nothing was made.
        RunError: it cannot be told whether it was made.
    """
    what, doubtful = f"make the schedule {body['display_name']}", False
    for left in reversed(range(_ATTEMPTS)):
        try:
            row = connection.request("POST", "recurringruns", body, what=what, repeat=False)
            made = [schedule_of(row)]
        except ApiFailed as error:
            doubtful = True
            if not (made := _look(connection, body, others, error)):
                if not left:
                    raise
                continue
        return _first_only(connection, body, others, made[0]) if doubtful else made[0]
    raise AssertionError("the last attempt returns or raises")


def _look(connection: Connection, body: Mapping[str, Any], others: Collection[str],
          error: ApiFailed) -> list[Schedule]:  # fmt: skip
    # 500 is the server's own word that it failed; after others it may be at work
    for pause in LOOKS_SECONDS[:1] if error.status == 500 else LOOKS_SECONDS:
        time.sleep(pause)
        if found := _like(connection, body, others):
            return found
    return []


def _like(
    connection: Connection, body: Mapping[str, Any], others: Collection[str]
) -> list[Schedule]:
    """Those that this request has made, the first one first."""
    name, version = body["display_name"], body["pipeline_version_reference"]["pipeline_version_id"]
    try:
        every = schedules(connection, LOOK_SECONDS)
    except ApiFailed as error:
        raise RunError(
            f"schedule {name}: expected to hear whether it was made, got {error.status or 'no'} "
            f"answer ({error.words}); `tally schedule list` before you make it again"
        ) from error
    return [
        one for one in every
        if (one.name, one.version_id) == (name, version) and one.id not in others
    ]  # fmt: skip


def _first_only(connection: Connection, body: Mapping[str, Any], others: Collection[str],
                made: Schedule) -> Schedule:  # fmt: skip
    """Keep the first one, and remove any other: an attempt that was thought lost may come late."""
    first, *second = _like(connection, body, others) or [made]
    for other in second:
        with contextlib.suppress(TallyError):
            enable(connection, other, on=False)
            remove(connection, other)
    return first
