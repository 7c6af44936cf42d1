"""The `tally schedule` commands: parse, call, print.

`tally schedule cnn --cron …` is `tally schedule create cnn --cron …`.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from tally.cli.options import JsonOption, SettingsOption, asked

SCHEMA = 1
TIMES = 5


class _CreateUnlessNamed(TyperGroup):
    """The first word is a command, or else a pipeline to make a schedule of."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_CreateUnlessNamed, help="Run a pipeline again and again on a cluster.")

NameArgument = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="its name, or 6 or more characters of its id")
]
ZoneOption = Annotated[
    str,
    typer.Option(
        "--timezone",
        envvar="KFP_TIMEZONE",
        help="in which the server reads times: CRON_SCHEDULE_TIMEZONE of its controller",
    ),
]
CancelOption = Annotated[
    bool, typer.Option("--cancel", help="end its runs, instead of waiting for them")
]
WaitOption = Annotated[
    float, typer.Option("--wait", min=0, metavar="SECONDS", help="how long to wait for its runs")
]


@app.command()
def create(
    pipeline: Annotated[
        str, typer.Argument(envvar="PIPELINE", help="cnn, rnn, or a file with model()")
    ],
    cron: Annotated[
        str,
        typer.Option(
            envvar="CRON",
            help="second minute hour day month weekday: '0 0 3 * * *'; or '@every 12h'",
        ),
    ],
    settings: SettingsOption = None,
    name: Annotated[str, typer.Option(help="of the schedule; the pipeline's without")] = "",
    timezone: ZoneOption = "UTC",
    at_once: Annotated[int, typer.Option(help="how many of its runs may go on at a time")] = 1,
    catch_up: Annotated[
        bool, typer.Option("--catch-up", help="make up for all missed times, not only the newest")
    ] = False,
) -> None:
    """Make a schedule; its next five times are printed before."""
    from tally.runs.kubeflow import scheduling

    scheduling.create(
        pipeline, asked(settings), cron, Console(), name=name, where=timezone,
        at_once=at_once, catch_up=catch_up,
    )  # fmt: skip


@app.command("list")
def list_(timezone: ZoneOption = "UTC", as_json: JsonOption = False) -> None:
    """List the schedules, with the next time of each."""
    from tally.runs.kubeflow import cron
    from tally.runs.kubeflow.connection import connect
    from tally.runs.kubeflow.schedules import schedules

    zone, now = cron.zone(timezone), datetime.now(UTC)
    rows: list[dict[str, Any]] = [
        {
            "id": one.id,
            "name": one.name,
            "cron": one.when,
            "timezone": timezone,
            "state": "enabled" if one.enabled else "paused",
            "next": [at.isoformat() for at in one.next_times(now, zone, TIMES)],
            "version": one.version_id,
            "parameters": dict(one.parameters),
        }
        for one in schedules(connect())
    ]
    if as_json:
        print(json.dumps({"schema": SCHEMA, "schedules": rows}))
        return
    table = Table(box=None, header_style="bold")
    for title in ("schedule", "id", "cron", "state", f"next ({timezone})"):
        table.add_column(title)
    for row in rows:
        soon = (
            f"{datetime.fromisoformat(row['next'][0]):%a %Y-%m-%d %H:%M:%S}" if row["next"] else ""
        )
        table.add_row(row["name"], row["id"][:8], row["cron"], row["state"], soon)
    Console().print(table if rows else "no schedules yet; try `make schedule PIPELINE=cnn CRON=…`")


@app.command()
def pause(name: NameArgument) -> None:
    """No new run until it is resumed; one that goes on is not touched."""
    from tally.runs.kubeflow import scheduling

    found = scheduling.switch(name, Console(), on=False)
    print(f"paused {found.name}; `tally schedule resume {found.name}` lets it go on")


@app.command()
def resume(name: NameArgument, timezone: ZoneOption = "UTC") -> None:
    """Let it go on; for the newest time that passed meanwhile Kubeflow starts a run at once."""
    from tally.runs.kubeflow import scheduling

    print(f"resumed {scheduling.switch(name, Console(), on=True, where=timezone).name}")


@app.command()
def delete(name: NameArgument, cancel: CancelOption = False, wait: WaitOption = 3600.0) -> None:
    """End it: no new run, then the end of its runs, then it is gone."""
    from tally.runs.kubeflow import scheduling

    found = scheduling.delete(name, Console(), cancel=cancel, seconds=wait)
    print(f"deleted {found.name} ({found.id})")


@app.command()
def update(
    name: NameArgument,
    pipeline: Annotated[
        str, typer.Option(envvar="PIPELINE", help="the file, where it was made of one")
    ] = "",
    settings: SettingsOption = None,
    cancel: CancelOption = False,
    wait: WaitOption = 3600.0,
) -> None:
    """Compile its pipeline anew, with today's image; name, times and parameters stay."""
    from tally.runs.kubeflow import scheduling

    scheduling.update(
        name, asked(settings), Console(), pipeline=pipeline, cancel=cancel, seconds=wait
    )
