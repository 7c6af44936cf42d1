"""The report of a run: one self-contained HTML page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tally
from tally.costing.bill import Bill
from tally.costing.quotes import Quote
from tally.costing.runs import RunRecord
from tally.reports import curves, history, judged, money, scaled, timing, words
from tally.reports.history import History
from tally.reports.money import Money
from tally.reports.quote_text import against
from tally.reports.render import render
from tally.spec import Spec
from tally.storage import atomic_file
from tally.tasks import reading


@dataclass(frozen=True)
class Figure:
    """A headline figure."""

    name: str
    value: str
    detail: str


def write_report(
    run: RunRecord,
    bill: Bill,
    events: Iterable[Mapping[str, Any]],
    evaluation: Mapping[str, Any] | None,
    path: Path,
    quote: Quote | None = None,
    left_out: str = "",
) -> None:
    """Write the report to `path`, whole or not at all.

    Args:
        run: as the ledger knows it.
        bill: its bill.
        events: of all its attempts; none is fine.
        evaluation: evaluation.json; None without one.
        path: of the HTML file; its folder is made if missing.
        quote: that the run had; None without one.
        left_out: what the page cannot show, and where that is; "" where everything is at hand.

    Raises:
        RunError: the disk is full.
    """
    page = report_html(run, bill, events, evaluation, quote, left_out)
    with atomic_file(path) as file:
        file.write(page.encode())


def report_html(
    run: RunRecord,
    bill: Bill,
    events: Iterable[Mapping[str, Any]],
    evaluation: Mapping[str, Any] | None,
    quote: Quote | None = None,
    left_out: str = "",
) -> str:
    """The report as text; the arguments are those of `write_report`."""
    known = list(events)
    read = reading.words(run.words, run.metrics)
    past = history.read(known, read.columns)
    laid_out = money.lay_out(bill)
    return render(
        "report.html.j2",
        run=run,
        bill=bill,
        money=laid_out,
        quote=quote.document if quote and "rows" in quote.document else None,
        compared=against(quote, bill) if quote else "",
        left_out=left_out,
        measured=[
            (name, words.measured(read.kind(name), value)) for name, value in run.metrics.items()
        ],
        evaluation=evaluation,
        judged=judged.lay_out(evaluation) if evaluation else None,
        **(judged.rest(evaluation) if evaluation else {}),
        lede=_lede(run, bill, past, laid_out),
        failure=run.error or (past.failures[-1] if past.failures else ""),
        figures=_figures(run, bill, past, laid_out, evaluation),
        learning=curves.learning(past, evaluation, read.columns),
        throughput=timing.throughput(past),
        timeline=timing.timeline(past),
        scaled=scaled.lay_out(known, past),
        restarts=len(past.attempts) > 1,
        parameters=_parameters(run.spec),
        version=tally.__version__,
    )


_OVER = "total over percentage points"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


_ENDED = {
    "running": "is still running",
    "succeeded": "ran",
    "failed": "failed",
    "cancelled": "was cancelled",
    "interrupted": "was interrupted",
}


def _lede(run: RunRecord, bill: Bill, past: History, shown: Money) -> str:
    """The run in a sentence or two."""
    model, dataset = run.spec.get("model"), past.facts.get("name") or run.spec.get("dataset")
    subject = f"{model} on {dataset}" if model and dataset else run.pipeline
    if not bill.lines:
        return f"{words.clip(subject, 160)} {_ENDED[run.state]} and has used nothing so far."
    after = "for" if run.state in ("succeeded", "running") else "after"
    text = f"{words.clip(subject, 160)} {_ENDED.get(run.state, run.state)} {after} "
    text += f"{words.duration(bill.wall_seconds)} and cost {shown.total_usd}"
    if bill.result is not None:
        reached = words.measured(bill.headline, bill.result)
        named = "" if bill.headline.share else f"{bill.headline.title} "
        text += f", reaching {named}{reached} on examples it had never seen"
    if bill.examples:
        text += f". It learned from {words.count(bill.examples)} examples"
        if past.epochs:
            text += f" in {past.epochs[-1].number} epoch{'s' * (past.epochs[-1].number != 1)}"
    return f"{text}."


def _figures(
    run: RunRecord,
    bill: Bill,
    past: History,
    shown: Money,
    evaluation: Mapping[str, Any] | None,
) -> list[Figure]:
    rates = [s.examples_per_second for s in past.samples if s.examples_per_second is not None]
    example = words.per_example(bill.usd_per_example) if bill.usd_per_example else None
    point = words.usd(bill.usd_per_point) if bill.usd_per_point else "–"
    lost = ", ".join(f"{line.phase} {words.duration(line.seconds)}" for line in shown.wasted)
    attempts = f"{bill.attempts} attempt{'s' * (bill.attempts != 1)}"
    own = bill.platform_seconds
    platform = f"{words.duration(own)} of it the platform's own" if own else ""
    headline = bill.headline
    result = "–" if bill.result is None else words.measured(bill.headline, bill.result)
    tested = "not evaluated" if bill.result is None else "on the test split"
    if evaluation:
        tested = f"{words.count(evaluation['count'])} test examples"
    speed = f"{words.count(history.median(rates))} examples a second" if rates else attempts
    return [
        Figure(_capital(headline.title), result, tested),
        Figure(
            "Total cost",
            shown.total_usd,
            f"hardware {shown.hardware_usd}, software {shown.software_usd}, time {shown.time_usd}",
        ),
        Figure(
            "Wall clock",
            words.duration(bill.wall_seconds),
            ", ".join(filter(None, [attempts, speed if rates else "", platform])),
        ),
        *([Figure(_capital(headline.short), point, _OVER)] if headline.usd else []),
        Figure(
            f"Training {example[1]}" if example else "Training an example",
            example[0] if example else "–",
            f"{words.count(bill.examples)} trained" if bill.examples else "none trained",
        ),
        Figure(
            "Not spent at work",
            shown.wasted_usd,
            f"{words.percent(shown.wasted_share)} of hardware and software: {lost}"
            if lost
            else "no waiting, starting or restarting",
        ),
    ]


def _parameters(spec: Mapping[str, Any]) -> list[list[tuple[str, str, str | None]]]:
    """Name, value and the default where it differs, in two columns."""
    rows: list[tuple[str, str, str | None]] = []
    for name, value in spec.items():
        field = Spec.model_fields.get(name)
        differs = field is not None and field.default != value
        rows.append((str(name), str(value), str(field.default) if field and differs else None))
    half = (len(rows) + 1) // 2
    return [rows[:half], rows[half:]] if half < len(rows) else [rows] if rows else []
