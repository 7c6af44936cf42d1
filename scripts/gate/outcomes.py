"""What became of each test of a stage, from what tests/helpers/recording.py wrote."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """One test.

    Attributes:
        state: passed, failed, skipped, running (when the stage ended) or unrun.
        exact: it says a wrong figure of sums or order: it is not run again.
        quarantine: since and why, where it is in quarantine.
        again: whether it passed when it was run once more, alone; None where it was not.
    """

    test: str
    state: str = "unrun"
    seconds: float = 0.0
    text: str = ""
    exact: bool = False
    quarantine: dict[str, str] = field(default_factory=dict)
    again: bool | None = None


def read(lines: Iterable[str]) -> dict[str, Outcome]:
    """Outcomes by test id, in the order of their coming; a line that was cut short is left out."""
    told: list[dict[str, Any]] = []
    for line in lines:
        try:
            told.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    found: dict[str, Outcome] = {}

    def outcome(test: str) -> Outcome:
        return found.setdefault(test, Outcome(test))

    for line in told:
        for test in line.get("collected", ()):
            outcome(test)
        if "started" in line:
            outcome(line["started"]).state = "running"
        if "test" in line:
            _add(outcome(line["test"]), line)
    return found


def _add(one: Outcome, line: dict[str, Any]) -> None:
    one.seconds += line.get("seconds", 0.0)
    one.quarantine = one.quarantine or line.get("quarantine", {})
    if line["outcome"] == "failed":
        one.state = "failed"
        one.text += line["text"]
        one.exact = one.exact or line.get("exact", False)
    elif one.state != "failed":
        if line["when"] == "setup" and line["outcome"] == "passed":
            return  # it is still to be called
        if line["when"] == "teardown" and one.state == "skipped":
            return
        one.state = line["outcome"]
