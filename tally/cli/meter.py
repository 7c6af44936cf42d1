"""Commands of the meter's own: what it would bill of a recorded timeline."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tally.errors import SpecError

app = typer.Typer(help="What the meter makes of what it is told.")


@app.callback()
def meter() -> None:
    """What the meter makes of what it is told."""


@app.command()
def replay(
    timeline: Annotated[
        Path, typer.Argument(help="a JSON document of events; tally/meter/replay.py says which")
    ],
) -> None:
    """Bill a timeline of pods, nodes and prices; the last line is JSON."""
    from tally.meter.replay import replay
    from tally.reports.text import replay_table

    try:
        told = json.loads(timeline.read_text())
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise SpecError(
            f"meter replay: expected a readable JSON document, got {said}; pass another file"
        ) from error
    replayed = replay(told)
    Console().print(replay_table(replayed.as_json()))
    print(json.dumps(replayed.as_json()))
