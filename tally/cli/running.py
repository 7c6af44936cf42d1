"""Commands about runs: submit, follow, end, look."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tally.cli.options import (
    CancelOption,
    ConfirmOption,
    EngineOption,
    JsonOption,
    NamespaceOption,
    PipelineArgument,
    ProbeOption,
    RunArgument,
    SettingsOption,
    YesOption,
    asked,
)  # fmt: skip

app = typer.Typer()


@app.command()
def submit(
    pipeline: PipelineArgument,
    settings: SettingsOption = None,
    engine: EngineOption = "",
    as_json: JsonOption = False,
    cancel_on_interrupt: CancelOption = False,
    yes: YesOption = False,
    confirm_above_usd: ConfirmOption = 5.0,
) -> None:
    """Compile and run a pipeline, with live progress; ends with the bill."""
    from tally.runs.choosing import engine_of
    from tally.runs.consent import Consent

    consent, parameters = Consent(yes=yes, above_usd=confirm_above_usd), asked(settings)
    sys.exit(
        engine_of(engine).submit(
            pipeline,
            parameters,
            consent,
            as_json=as_json,
            cancel_on_interrupt=cancel_on_interrupt,
        )
    )


@app.command()
def watch(
    run: RunArgument,
    engine: EngineOption = "",
    namespace: NamespaceOption = "",
    as_json: JsonOption = False,
    cancel_on_interrupt: CancelOption = False,
) -> None:
    """Follow a run that was left running; ends with the bill."""
    from tally.runs.choosing import engine_with

    sys.exit(
        engine_with(engine, run, namespace).watch(
            run, as_json=as_json, cancel_on_interrupt=cancel_on_interrupt
        )
    )


@app.command()
def resume(
    run: RunArgument,
    settings: SettingsOption = None,
    engine: EngineOption = "",
    namespace: NamespaceOption = "",
    as_json: JsonOption = False,
) -> None:
    """Go on with a run that did not finish, from its last checkpoint; SET can raise its limits."""
    from tally.runs.choosing import engine_with

    sys.exit(engine_with(engine, run, namespace).resume(run, asked(settings), as_json=as_json))


@app.command()
def cancel(run: RunArgument, engine: EngineOption = "", namespace: NamespaceOption = "") -> None:
    """End a running run; one of this machine keeps its last checkpoint and can be resumed."""
    from tally.runs.choosing import engine_with

    print(engine_with(engine, run, namespace).cancel(run))


@app.command()
def resize(
    run: RunArgument,
    workers: Annotated[int, typer.Argument(envvar="WORKERS", help="how many from now on")],
    machine: Annotated[
        str, typer.Option(envvar="MACHINE", help="another machine type, of a cluster's")
    ] = "",
    engine: EngineOption = "",
    namespace: NamespaceOption = "",
) -> None:
    """Let a run that trains go on with another number of workers, up to its max_workers."""
    from tally.runs.choosing import engine_with

    print(engine_with(engine, run, namespace).resize(run, workers, machine))


@app.command()
def reap(
    namespace: Annotated[
        str, typer.Option(envvar="NAMESPACE", help="one namespace only; all of them without")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say which")] = False,
) -> None:
    """Remove the gangs on the cluster whose run has ended, as a conductor that was lost leaves."""
    from tally.kube import reap as reaping
    from tally.kube.cluster import Cluster

    lines = reaping.reap(Cluster(), namespace or None, dry_run=dry_run)
    print("\n".join(lines or ["nothing to remove"]))


@app.command()
def runs(as_json: JsonOption = False, engine: EngineOption = "") -> None:
    """List runs, newest first, with what each cost."""
    from tally.runs.choosing import engine_of

    found = engine_of(engine).listed()
    if as_json:
        print(json.dumps(found.document))
        return
    table = Table(box=None, header_style="bold")
    for title in ("run", "pipeline", "state", "began (UTC)", "result", "cost"):
        table.add_column(title, justify="right" if title in ("result", "cost") else "left")
    for row in found.cells:
        table.add_row(*map(Text, row))
    Console().print(table if found.cells else "no runs yet; try `make submit PIPELINE=cnn`")


@app.command()
def logs(
    run: RunArgument,
    step: Annotated[str, typer.Option(envvar="STEP", help="one step only, or engine")] = "",
    engine: EngineOption = "",
    namespace: NamespaceOption = "",
) -> None:
    """Print what a run's steps and Kubeflow's runner wrote."""
    from tally.runs.choosing import engine_with

    for title, text in engine_with(engine, run, namespace).logs(run, step):
        print(f"==> {title} <==")
        sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")


@app.command("compile")
def compile_(
    pipeline: PipelineArgument,
    out: Annotated[Path | None, typer.Option(help="where to write the IR YAML")] = None,
) -> None:
    """Compile a pipeline to Kubeflow's IR YAML."""
    from tally.runs.compiled import compile_to

    print(compile_to(pipeline, out))


@app.command()
def doctor(probe: ProbeOption = False) -> None:
    """Say what is missing on this machine and of its cluster, a line each, with the remedy."""
    from tally.runs.doctor import findings

    bad = False
    for finding in findings(probe=probe):
        bad = bad or (finding.needed and not finding.good)
        print(finding.line())
    sys.exit(1 if bad else 0)
