"""Champions as tables for a terminal. Pure."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from tally.reports import words
from tally.tasks.registry import headline_among

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
        headline, size = headline_among(metrics), metrics.get("bytes")
        made.add_row(
            row["model"], row["version"], row["state"],
            words.finely(headline.name, metrics[headline.name]) if headline else "–",
            "–" if size is None else words.count(size),
            row.get("candidate", "–"),
        )  # fmt: skip
    return made
