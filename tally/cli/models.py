"""Commands about models: champions, smaller ones, how good one is."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from tally.cli.options import JsonOption, RunArgument, SettingsOption, asked

app = typer.Typer()
ModelName = Annotated[
    str, typer.Argument(envvar="MODEL", help="a model of the registry, as `tally champion` lists")
]


@app.command()
def champion(
    model: Annotated[
        str, typer.Argument(envvar="MODEL", help="one model, with its history; all without it")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Which version of each model is champion, how good it is, and which run made it."""
    from tally.reports import registry_text
    from tally.runs import champions

    document = champions.history(model) if model else champions.listed()
    if as_json:
        print(json.dumps(document))
    else:
        Console().print(registry_text.table(document))


@app.command()
def rollback(
    model: ModelName,
    to: Annotated[
        str, typer.Option(envvar="TO", metavar="VERSION", help="which; the one before without it")
    ] = "",
) -> None:
    """Make an earlier champion champion again; nothing is deleted."""
    from tally.runs import champions

    version = champions.rollback(model, to or None)
    print(f"champion of {model} is {version.name} again, of run {version.lineage.get('run', '?')}")


@app.command()
def compress(
    run: RunArgument,
    settings: SettingsOption = None,
    out: Annotated[
        Path | None, typer.Option(envvar="OUT", help="folder of the .tflite files")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make smaller models of a run's model and measure each on its test split."""
    from tally.runs import judging

    rows, folder = judging.compress(run, asked(settings), out, _progress)
    _show(rows, as_json)
    if not as_json:
        print(f"made in {folder}")


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Argument(envvar="MODEL", help="a .tflite file, a run, or a model's champion")
    ],
    data: Annotated[
        str, typer.Argument(envvar="DATA", help="a dataset: a name, a file or folder, gs://…")
    ],
    as_json: JsonOption = False,
) -> None:
    """How good a model is on the test split of a dataset, how fast, and at what cost."""
    from tally.runs import judging

    _show([judging.evaluate(model, data)], as_json)


def _progress(what: str, done: int, total: int) -> None:
    """On stderr, over itself where that is a terminal."""
    import sys

    end = "\r" if sys.stderr.isatty() and done < total else "\n"
    if sys.stderr.isatty() or done == total:
        print(f"{what}: {done} of {total}", end=end, file=sys.stderr, flush=True)


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    from tally.reports import words
    from tally.tasks import reading

    if as_json:
        print(json.dumps({"schema": 1, "candidates": rows}))
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("candidate", "result", "95 %", "bytes", "median", "a million"):
        table.add_column(name, justify="left" if name == "candidate" else "right")
    for row in rows:
        if row["failed"]:
            table.add_row(row["name"], f"failed: {row['failed']}")
            continue
        headline = reading.words(row.get("words", {}), row).headline
        interval = " – ".join(words.measured(headline, end) for end in row[headline.interval])
        one = row["latency"]["batch_1"]["median_seconds"]
        table.add_row(
            row["name"], words.finely(headline, row[headline.name]), interval,
            words.count(row["bytes"]), f"{1e3 * one:.3g} ms", words.usd(row["usd_per_million"]),
        )  # fmt: skip
    Console().print(table)
