"""Commands about money: bills, who pays, reports, exports."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tally.cli.options import (
    EngineOption,
    JsonOption,
    NamespaceOption,
    RunArgument,
    SettingsOption,
    SinceOption,
    UntilOption,
    asked,
)
from tally.errors import SpecError

if TYPE_CHECKING:
    from tally.costing.days import Charged
    from tally.reports.chargeback_text import Shown

app = typer.Typer()


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
    engine: EngineOption = "",
    namespace: NamespaceOption = "",
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
    from tally.costing.chargeback import parse_by
    from tally.costing.ledger import open_ledger
    from tally.reports.text import bill_table
    from tally.runs import charged, prometheus_bill
    from tally.runs.choosing import engine_of, engine_with

    if not run and not by:
        raise SpecError("bill: expected a run, or names to group by, got neither; pass RUN or BY")
    if namespace and not run:
        raise SpecError(
            f"NAMESPACE: expected it beside a RUN, got {namespace} alone; pass BY=namespace"
        )
    if prometheus and not by:
        compared = prometheus_bill.compare(open_ledger(), run, prometheus, within, namespace)
        _print_shown(compared, as_csv, as_json)
        return
    if by or as_csv:
        names = parse_by(by or "step,phase")
        asked_of = engine_with(engine, run, namespace) if run else engine_of(engine)
        found = asked_of.charged(since, until, run)
        _say_what_is_left_out(found)
        _print_shown(charged.by(found, names), as_csv, as_json)
        return
    made = engine_with(engine, run, namespace).bill(run)
    if as_json:
        print(json.dumps(made.as_json()))
    else:
        Console().print(bill_table(made))


@app.command()
def quote(
    pipeline: Annotated[
        str, typer.Argument(envvar="PIPELINE", help="cnn, rnn, or a file with model(), dataset()")
    ] = "",
    settings: SettingsOption = None,
    engine: EngineOption = "",
    as_json: JsonOption = False,
    again: Annotated[
        bool, typer.Option("--again", envvar="AGAIN", help="measure anew what is known already")
    ] = False,
    past: Annotated[
        bool, typer.Option("--accuracy", envvar="ACCURACY", help="how far past quotes were off")
    ] = False,
) -> None:
    """What a run would take and cost, at every size, and what would change that."""
    from tally.reports.quote_text import quote_table, scores_table
    from tally.runs import quotes
    from tally.runs.kubeflow.settings import on_cluster

    if past:
        from tally.costing.ledger import open_ledger

        document, shown = quotes.past(open_ledger()), scores_table
    elif not pipeline:
        raise SpecError("quote: expected a pipeline or --accuracy, got neither; pass PIPELINE=cnn")
    elif on_cluster(engine):
        made = quotes.of_cluster(pipeline, asked(settings))
        if made is None:
            raise SpecError(
                "quote: expected a packaged dataset and model for a run on a cluster, got others; "
                "submit it: its plan step quotes it before any worker starts"
            )
        document, shown = made.as_json(), quote_table
    else:
        made = quotes.quote(pipeline, asked(settings), again=again)
        document, shown = made.as_json(), quote_table
    if as_json:
        print(json.dumps(document))
    else:
        Console().print(shown(document))


@app.command()
def export(
    form: Annotated[str, typer.Argument(envvar="FORMAT", help="focus: FOCUS 1.2, CSV")] = "focus",
    out: Annotated[Path, typer.Option(envvar="OUT", help="where to write the file")] = Path(
        "focus.csv"
    ),
    since: SinceOption = "",
    until: UntilOption = "",
    engine: EngineOption = "",
) -> None:
    """Write all charges, and what of nodes was idle, as a file for FinOps tools."""
    from tally.runs import charged
    from tally.runs.choosing import engine_of

    if form != "focus":
        raise SpecError(f'FORMAT: expected focus, got "{form}"; pass FORMAT=focus')
    found = engine_of(engine).charged(since, until)
    _say_what_is_left_out(found)
    if charged.is_unlisted(found):
        print(charged.UNLISTED, file=sys.stderr)
    rows = charged.write_focus(found, since, until, out)
    print(f"{out}: {rows} rows")


@app.command()
def report(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(help="where to write the page")] = None,
    engine: EngineOption = "",
    namespace: NamespaceOption = "",
) -> None:
    """Write one self-contained HTML page: learning curve, money, the evaluation, throughput."""
    from tally.runs.choosing import engine_with

    print(engine_with(engine, run, namespace).report(run, out))


@app.command()
def compare(
    run: Annotated[str, typer.Argument(envvar="RUN", help="two or more run ids: a,b")],
    engine: EngineOption = "",
    namespace: NamespaceOption = "",
    as_json: JsonOption = False,
) -> None:
    """Runs side by side, of this machine and of a cluster: parameters, metrics, cost."""
    from tally.reports import compare as comparison
    from tally.runs.choosing import engine_with

    names = [text for text in run.replace(",", " ").split() if text]
    if len(names) < 2:
        raise SpecError(f'RUN: expected two runs or more, got "{run}"; pass RUN=a,b')
    pairs = [engine_with(engine, name, namespace).facts(name) for name in names]
    if as_json:
        print(json.dumps(comparison.compare_json(pairs)))
    else:
        Console().print(comparison.compare(pairs))


def _say_what_is_left_out(found: "Charged") -> None:
    from tally.runs.charged import LEFT_OUT

    if not found.whole:
        print(LEFT_OUT, file=sys.stderr)


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
