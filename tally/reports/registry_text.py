"""Champions as tables for a terminal. Pure."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from tally.reports import words
from tally.tasks import reading

NONE = "no model has a champion yet; try `make submit PIPELINE=cnn`"


def table(document: Mapping[str, Any]) -> Table | Text:
    """What tally.runs.champions lists."""
    if not document["versions"]:
        return Text(str(document.get("none", NONE)))
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("model", "version", "state", "result", "bytes", "candidate"):
        made.add_column(name, justify="right" if name in ("result", "bytes") else "left")
    for row in document["versions"]:
        metrics = row.get("metrics") or {}
        headline = reading.words(metrics.get("words", {}), metrics).headline
        result, size = metrics.get(headline.name), metrics.get("bytes")
        made.add_row(
            row["model"], row["version"], row["state"],
            "–" if result is None else words.finely(headline, result),
            "–" if size is None else words.count(size),
            row.get("candidate", "–"),
        )  # fmt: skip
    return made
