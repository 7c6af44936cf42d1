"""A run's events: JSON lines in its folder, written by steps, drawn by submit and the report.

Every event holds `schema`, `at_microseconds`, `attempt`, `step` and `event`, its kind:

    step_started, step_ended      a step's body began, ended
    progress                      done, total, unit; optional examples_per_second, loss, figures
    epoch                         epoch, loss, the task's figures, seconds
    checkpoint                    epoch, offset, saved_microseconds
    failed                        message, exit_code: the one line that the user sees
    note                          message
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tally import clock
from tally.errors import check_schema

SCHEMA = 1


def write(folder: Path, attempt: int, step: str, event: str, **fields: Any) -> None:
    """Append one event to the run in `folder`; one write call, so that lines never mix."""
    row = {
        "schema": SCHEMA,
        "at_microseconds": clock.now_microseconds(),
        "attempt": attempt,
        "step": step,
        "event": event,
        **fields,
    }
    line = (json.dumps(row) + "\n").encode()
    descriptor = os.open(folder / "events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """A run's events, oldest first; a line cut short by a kill is passed over.

    Raises:
        SchemaError: a newer Tally wrote them.
    """
    path = folder / "events.jsonl"
    if path.exists():
        with open(path, "rb") as file:
            yield from parse(file.read().splitlines(), str(path))


def parse(lines: list[bytes], what: str) -> Iterator[dict[str, Any]]:
    """Events out of JSON lines; `what` names the file in errors."""
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        check_schema(what, int(row.get("schema", SCHEMA)), SCHEMA)
        yield row
