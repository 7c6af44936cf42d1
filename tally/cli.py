"""The `tally` command: parse, call, print.

Exit codes: 0 done, 1 the run failed, 2 bad input, 130 interrupted.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from tally import schedule_cli
from tally.errors import SpecError, TallyError
from tally.schedule_cli import JsonOption, SettingsOption

if TYPE_CHECKING:
    from tally.reports.chargeback_text import Shown
    from tally.runs.local import Ended

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
    help="Kubeflow pipelines that quote a training run, scale it, and bill every second.",
)  # fmt: skip

app.add_typer(schedule_cli.app, name="schedule")

PipelineArgument = Annotated[
    str, typer.Argument(envvar="PIPELINE", help="cnn, rnn, or a file with model() and dataset()")
]
RunArgument = Annotated[
    str, typer.Argument(envvar="RUN", help="a run's id, or as much of it as is unique")
]
SinceOption = Annotated[
    str, typer.Option(envvar="SINCE", metavar="DAY", help="the first day (UTC): 2026-11-01")
]
UntilOption = Annotated[
    str, typer.Option(envvar="UNTIL", metavar="DAY", help="the day after the last: 2026-12-01")
]
EngineOption = Annotated[
    str, typer.Option(envvar="ENGINE", help="local or cluster; cluster where KFP_HOST is set")
]
CancelOption = Annotated[
    bool, typer.Option("--cancel", help="Ctrl-C ends a cluster's run, instead of leaving it")
]


@app.command()
def submit(
    pipeline: PipelineArgument,
    settings: SettingsOption = None,
    engine: EngineOption = "",
    as_json: JsonOption = False,
    cancel_on_interrupt: CancelOption = False,
) -> None:
    """Compile and run a pipeline, with live progress; ends with the bill."""
    from tally.runs.kubeflow.settings import on_cluster
    from tally.spec import parse_settings, split_settings

    asked = parse_settings(settings or split_settings(os.environ.get("SET", "")))
    if on_cluster(engine):
        from tally.runs.kubeflow import ending, submitting

        end = submitting.submit(
            pipeline, asked, _console(as_json), cancel_on_interrupt=cancel_on_interrupt
        )
        sys.exit(ending.say(end, as_json=as_json))
    from tally.runs import local

    _print_end(local.submit(pipeline, asked, _console(as_json)), as_json)


@app.command()
def watch(
    run: RunArgument, as_json: JsonOption = False, cancel_on_interrupt: CancelOption = False
) -> None:
    """Follow a cluster's run that was left running; ends with the bill."""
    from tally.runs.kubeflow import ending, submitting

    end = submitting.rejoin(run, _console(as_json), cancel_on_interrupt=cancel_on_interrupt)
    sys.exit(ending.say(end, as_json=as_json))


@app.command()
def resume(run: RunArgument, as_json: JsonOption = False) -> None:
    """Go on with a run that did not finish, from its last checkpoint."""
    from tally.costing.ledger import open_ledger
    from tally.runs import local

    _print_end(local.resume(open_ledger().find_run(run).id, _console(as_json)), as_json)


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
def bill(
    run: Annotated[
        str, typer.Argument(envvar="RUN", help="a run's id; with --by, all runs without one")
    ] = "",
    by: Annotated[
        str, typer.Option(envvar="BY", metavar="NAMES", help="who pays: team,month or others")
    ] = "",
    as_csv: Annotated[bool, typer.Option("--csv", envvar="CSV", help="print CSV")] = False,
    as_json: JsonOption = False,
    since: SinceOption = "",
    until: UntilOption = "",
    prometheus: Annotated[
        str,
        typer.Option(
            "--from-prometheus",
            envvar="TALLY_PROMETHEUS",
            metavar="URL",
            help="what Prometheus has scraped of the run, beside what the ledger has",
        ),
    ] = "",
    within: Annotated[
        str, typer.Option("--range", envvar="RANGE", help="how far back to look in Prometheus")
    ] = "30d",
) -> None:
    """What a run used, by step and phase, and what that cost; with --by, who pays for what."""
    from tally.costing.ledger import open_ledger
    from tally.reports.text import bill_table
    from tally.runs import bills, charged, prometheus_bill
    from tally.runs.listing import find

    if not run and not by:
        raise SpecError("bill: expected a run, or names to group by, got neither; pass RUN or BY")
    ledger = open_ledger()
    if prometheus and not by:
        _print_shown(prometheus_bill.compare(ledger, run, prometheus, within), as_csv, as_json)
        return
    if by or as_csv:
        run_id = find(ledger, run).id if run else ""
        names = by or "step,phase"
        _print_shown(charged.by(ledger, names, since, until, run_id), as_csv, as_json)
        return
    made = bills.bill_of(ledger, run)
    if as_json:
        print(json.dumps(made.as_json()))
    else:
        Console().print(bill_table(made))


@app.command()
def export(
    form: Annotated[str, typer.Argument(envvar="FORMAT", help="focus: FOCUS 1.2, CSV")] = "focus",
    out: Annotated[Path, typer.Option(envvar="OUT", help="where to write the file")] = Path(
        "focus.csv"
    ),
    since: SinceOption = "",
    until: UntilOption = "",
) -> None:
    """Write all charges, and what of nodes was idle, as a file for FinOps tools."""
    from tally.costing.ledger import open_ledger
    from tally.runs import charged

    if form != "focus":
        raise SpecError(f'FORMAT: expected focus, got "{form}"; pass FORMAT=focus')
    rows = charged.write_focus(open_ledger(), since, until, out)
    print(f"{out}: {rows} rows")


@app.command()
def report(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(help="where to write the page")] = None,
) -> None:
    """Write one self-contained HTML page: learning curve, money, confusion matrix, throughput."""
    from tally.costing.ledger import open_ledger
    from tally.runs.listing import find, page

    ledger = open_ledger()
    print(page(ledger, find(ledger, run), out))


@app.command()
def compare(
    run: Annotated[str, typer.Argument(envvar="RUN", help="two or more run ids: a,b")],
    as_json: JsonOption = False,
) -> None:
    """Runs side by side: parameters, metrics, cost."""
    from tally.costing.ledger import open_ledger
    from tally.reports import compare as comparison
    from tally.runs.listing import find

    ledger = open_ledger()
    ids = [text for text in run.replace(",", " ").split() if text]
    if len(ids) < 2:
        raise SpecError(f'RUN: expected two runs or more, got "{run}"; pass RUN=a,b')
    found = [find(ledger, text) for text in ids]
    pairs = [(record, ledger.bill(record.id)) for record in found]
    if as_json:
        print(json.dumps(comparison.compare_json(pairs)))
    else:
        Console().print(comparison.compare(pairs))


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
    from tally.runs import pipelines

    print(pipelines.compile_to(pipeline, out))


@app.command()
def doctor() -> None:
    """Say what is missing on this machine and of its cluster, a line each, with the remedy."""
    from tally.runs.doctor import findings

    bad = False
    for finding in findings():
        bad = bad or (finding.needed and not finding.good)
        print(finding.line())
    sys.exit(1 if bad else 0)


def _console(as_json: bool) -> Console:
    return Console(stderr=as_json)


def _print_shown(shown: "Shown", as_csv: bool, as_json: bool) -> None:
    if as_csv:
        print(shown.csv(), end="")
    elif as_json:
        print(shown.json())
    else:
        # as wide as it is: a terminal wraps lines, cells that were cut would be lost
        console = Console(width=1000)
        shown.table.width = console.measure(shown.table).maximum
        console.print(shown.table)


def _print_end(ended: "Ended", as_json: bool) -> NoReturn:
    """The bill, and for a run that did not succeed the reason and the remedy; then exit."""
    from tally.reports.text import bill_table
    from tally.runs.listing import row_json

    run = ended.run
    if as_json:
        print(json.dumps({"schema": 1, **row_json(run, ended.bill), "bill": ended.bill.as_json()}))
    else:
        Console().print(bill_table(ended.bill))
    if run.state == "succeeded":
        if not as_json:
            print(f"test accuracy {run.metrics['test_accuracy']:.2%} · `make report RUN={run.id}`")
    else:
        print(f"{run.state}: {run.error}", file=sys.stderr)
        resume = "" if "make resume" in run.error else f" · `make resume RUN={run.id}` goes on"
        print(f"cost so far ${ended.bill.total_usd:.4f}{resume}", file=sys.stderr)
    sys.exit(ended.exit_code)


def main() -> NoReturn:
    """Run the command; errors are one line on stderr."""
    try:
        app(standalone_mode=False)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except TallyError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        # click's usage errors: an unknown command or option, a missing argument
        if (show := getattr(error, "format_message", None)) is None:
            raise
        if said := show().rstrip("."):
            variable = getattr(getattr(error, "param", None), "envvar", None)
            remedy = f"pass {variable}=…" if variable else "see `tally --help`"
            print(f"tally: {said}; {remedy}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)
