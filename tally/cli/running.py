"""Commands about runs: submit, follow, end, look."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from tally.cli.options import (
    CancelOption,
    ConfirmOption,
    EngineOption,
    JsonOption,
    PipelineArgument,
    ProbeOption,
    RunArgument,
    SettingsOption,
    YesOption,
    asked,
)  # fmt: skip

if TYPE_CHECKING:
    from tally.costing.runs import RunRecord
    from tally.runs.local import Ended

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
    from tally.runs.consent import Consent
    from tally.runs.kubeflow.settings import on_cluster

    consent = Consent(yes=yes, above_usd=confirm_above_usd)
    parameters = asked(settings)
    if on_cluster(engine):
        from tally.runs.kubeflow import ending, submitting

        end = submitting.submit(
            pipeline,
            parameters,
            _console(as_json),
            cancel_on_interrupt=cancel_on_interrupt,
            consent=consent,
        )
        sys.exit(ending.say(end, as_json=as_json))
    from tally.runs import local

    _print_end(local.submit(pipeline, parameters, _console(as_json), consent), as_json)


@app.command()
def watch(
    run: RunArgument, as_json: JsonOption = False, cancel_on_interrupt: CancelOption = False
) -> None:
    """Follow a cluster's run that was left running; ends with the bill."""
    from tally.runs.kubeflow import ending, submitting

    end = submitting.rejoin(run, _console(as_json), cancel_on_interrupt=cancel_on_interrupt)
    sys.exit(ending.say(end, as_json=as_json))


@app.command()
def resume(run: RunArgument, settings: SettingsOption = None, as_json: JsonOption = False) -> None:
    """Go on with a run that did not finish, from its last checkpoint; SET can raise its limits."""
    from tally.costing.ledger import open_ledger
    from tally.runs import local

    found, parameters = open_ledger().find_run(run).id, asked(settings)
    _print_end(local.resume(found, _console(as_json), parameters), as_json)


@app.command()
def cancel(run: RunArgument, engine: EngineOption = "") -> None:
    """End a running run; one of this machine keeps its last checkpoint and can be resumed."""
    from tally.runs.kubeflow.settings import on_cluster

    if on_cluster(engine):
        from tally.runs.kubeflow.cancelling import cancel as cancel_there

        print(cancel_there(run, _console(as_json=True)))
        return
    from tally.costing.ledger import open_ledger
    from tally.runs import local

    found = open_ledger().find_run(run)
    local.cancel(found)
    print(f"cancelled {found.id}; `make resume RUN={found.id}` goes on with it")


@app.command()
def resize(
    run: RunArgument,
    workers: Annotated[int, typer.Argument(envvar="WORKERS", help="how many from now on")],
    machine: Annotated[
        str, typer.Option(envvar="MACHINE", help="another machine type, of a cluster's")
    ] = "",
) -> None:
    """Let a run that trains go on with another number of workers, up to its max_workers."""
    from tally.costing.ledger import open_ledger
    from tally.runs import local

    found = open_ledger().find_run(run)
    local.resize(found, workers, machine)
    on = f" on {machine}" if machine else ""
    print(f"asked {found.id} for {workers} workers{on}; `make submit` shows what it does")


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
    from tally.runs.kubeflow.settings import on_cluster

    if on_cluster(engine):
        from tally.runs.kubeflow import listing as cluster

        there = cluster.listed()
        document, cells = cluster.rows_json(there), [row.cells() for row in there]
    else:
        from tally.runs import listing

        here = listing.listed()
        document, cells = listing.rows_json(here), [row.cells() for row in here]
    if as_json:
        print(json.dumps(document))
        return
    table = Table(box=None, header_style="bold")
    for title in ("run", "pipeline", "state", "began (UTC)", "accuracy", "cost"):
        table.add_column(title, justify="right" if title in ("accuracy", "cost") else "left")
    for row in cells:
        table.add_row(*row)
    Console().print(table if cells else "no runs yet; try `make submit PIPELINE=cnn`")


@app.command()
def logs(
    run: RunArgument,
    step: Annotated[str, typer.Option(envvar="STEP", help="one step only, or engine")] = "",
) -> None:
    """Print what a run's steps and Kubeflow's runner wrote."""
    from tally.costing.ledger import open_ledger
    from tally.runs.listing import log_files

    for path in log_files(open_ledger().find_run(run).id, step):
        print(f"==> {path.stem} <==")
        with open(path, errors="replace") as file:
            sys.stdout.writelines(file)


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


def _console(as_json: bool) -> Console:
    return Console(stderr=as_json)


def _outcome(run: "RunRecord") -> str:
    """What a run that went well has come to, in a few words."""
    from tally import storage

    if "test_accuracy" not in run.metrics:
        return "no new data: nothing was trained"
    words = f"test accuracy {run.metrics['test_accuracy']:.2%}"
    measured = storage.run_folder(run.id) / "evaluation.json"
    found = json.loads(measured.read_text()) if measured.exists() else {}
    if beside := found.get("baseline"):
        words += f" (baseline {beside['name']}: {beside['test_accuracy']:.2%})"
    return f"{words}; {found['verdict']['reason']}" if found.get("verdict") else words


def _print_end(ended: "Ended", as_json: bool) -> NoReturn:
    """The bill, and for a run that did not succeed the reason and the remedy; then exit."""
    from tally.reports.quote_text import against
    from tally.reports.text import bill_table
    from tally.runs.listing import row_json

    run = ended.run
    if as_json:
        print(json.dumps({"schema": 1, **row_json(run, ended.bill), "bill": ended.bill.as_json()}))
    else:
        Console().print(bill_table(ended.bill))
        if ended.quote is not None and run.state == "succeeded":
            print(against(ended.quote, ended.bill))
    if run.state == "succeeded":
        if not as_json:
            print(f"{_outcome(run)} · `make report RUN={run.id}`")
    else:
        print(f"{run.state}: {run.error}", file=sys.stderr)
        resume = "" if "make resume" in run.error else f" · `make resume RUN={run.id}` goes on"
        print(f"cost so far ${ended.bill.total_usd:.4f}{resume}", file=sys.stderr)
    sys.exit(ended.exit_code)
