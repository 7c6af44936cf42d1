"""What evaluate found, laid out: the measures, the baseline, candidates and their fronts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tally.reports import charts, fronts, matrix, words
from tally.reports.plot import Plot
from tally.tasks import reading
from tally.tasks.kept import Told
from tally.tasks.sections import Chart, Grid, Shown, Table
from tally.tasks.task import Headline


@dataclass(frozen=True)
class Number:
    """A figure of evaluation.json: where it stands there, its value, and as it is shown."""

    key: str
    value: Any
    text: str


@dataclass(frozen=True)
class Row:
    """A candidate: its name, why it failed or "", its figures (an interval's two in one column),
    and on which fronts it is."""

    name: str
    failed: str
    numbers: tuple[tuple[Number, ...], ...]
    front: str
    promoted: bool


@dataclass(frozen=True)
class Beside:
    """A baseline: its method, its result with interval, the model's less that with interval, and
    what a share is a share of."""

    described: str
    result: tuple[Number, ...]
    difference: tuple[Number, ...]
    word: str


@dataclass(frozen=True)
class Judged:
    """What the templates show."""

    facts: tuple[tuple[str, tuple[Number, ...]], ...]
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    plots: tuple[Plot, ...]
    baseline: "Beside | None"
    verdict: str
    drift: str
    drift_numbers: tuple[Number, ...]


_COSTS = (
    "Bytes", "Compressed", "Zeros", "One at a time", "of the slowest 5 %", "32 at once",
    "A million",
)  # fmt: skip


def lay_out(evaluation: Mapping[str, Any]) -> Judged | None:
    """Of an evaluation of schema 2 or newer; None of an older one, which has none of it."""
    if int(evaluation.get("schema", 1)) < 2:
        return None
    verdict = evaluation.get("verdict") or {}
    rows = evaluation.get("candidates") or []
    task = reading.of(evaluation)
    drawn = [charts.drawn(one) for one in task.sections(evaluation) if isinstance(one, Chart)]
    drift = verdict.get("drift") or {}
    return Judged(
        facts=tuple((f.title, tuple(map(number, f.numbers))) for f in task.facts(evaluation)),
        heads=_heads(rows, task),
        rows=tuple(_row(k, row, verdict, task) for k, row in enumerate(rows)),
        plots=(*drawn, *fronts.drawn(rows, task.headline)),
        baseline=_beside(evaluation.get("baseline"), task.headline),
        verdict=str(verdict.get("reason", "")),
        drift=str(drift.get("word") or ""),
        drift_numbers=tuple(
            Number(f"verdict.drift.{name}", drift[name], f"{drift[name]:.3f}")
            for name in ("labels", "features", "worst_feature")
            if drift.get(name) is not None
        ),
    )


def rest(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates show of any evaluation: a sentence, its grids and its tables."""
    task = reading.of(evaluation)
    found = task.sections(evaluation)
    grids = [matrix.lay_out(one) for one in found if isinstance(one, Grid)]
    return {
        "sentence": task.sentence(evaluation),
        "grids": [grid for grid in grids if grid],
        "tables": [one for one in found if isinstance(one, Table)],
    }


def number(shown: Shown, below: str = "") -> Number:
    """As the templates show a figure that stands below a key of evaluation.json."""
    return Number(f"{below}{shown.key}", shown.value, words.written(shown.form, shown.value))


def _beside(baseline: Mapping[str, Any] | None, headline: Headline) -> Beside | None:
    if not baseline:
        return None

    def result(key: str, value: float) -> Number:
        return Number(f"baseline.{key}", value, words.finely(headline, value))

    def apart(key: str, value: float) -> Number:
        return Number(f"baseline.{key}", value, headline.apart(value))

    name, intervals = headline.name, baseline["intervals"]
    return Beside(
        described=str(baseline["described"]),
        result=(
            result(name, baseline[name]),
            result(f"intervals.{name}.0", intervals[name][0]),
            result(f"intervals.{name}.1", intervals[name][1]),
        ),
        difference=(
            apart("difference", baseline["difference"]),
            apart("difference_interval.0", baseline["difference_interval"][0]),
            apart("difference_interval.1", baseline["difference_interval"][1]),
        ),
        word=headline.word,
    )


def _row(k: int, row: Mapping[str, Any], verdict: Mapping[str, Any], task: Told) -> Row:
    if row.get("failed"):
        return Row(row["name"], str(row["failed"]), (), "", False)
    at = f"candidates.{k}."
    one, many = row["latency"]["batch_1"], row["latency"]["batch_32"]
    costs = (
        Number(f"{at}bytes", row["bytes"], words.count(row["bytes"])),
        Number(f"{at}compressed_bytes", row["compressed_bytes"],
               words.count(row["compressed_bytes"])),
        Number(f"{at}sparsity", row["sparsity"], words.percent(row["sparsity"])),
        Number(f"{at}latency.batch_1.median_seconds", one["median_seconds"],
               _milliseconds(one["median_seconds"])),
        Number(f"{at}latency.batch_1.p95_seconds", one["p95_seconds"],
               _milliseconds(one["p95_seconds"])),
        Number(f"{at}latency.batch_32.median_seconds", many["median_seconds"],
               _milliseconds(many["median_seconds"])),
        Number(f"{at}usd_per_million", row["usd_per_million"], words.usd(row["usd_per_million"])),
    )  # fmt: skip
    measures = [tuple(number(n, at) for n in fact.numbers) for fact in task.candidate(row)]
    promoted = bool(verdict.get("version")) and verdict.get("candidate") == row["name"]
    numbers = (*measures, *((each,) for each in costs))
    return Row(row["name"], "", numbers, ", ".join(row["front"]), promoted)


def _heads(rows: Sequence[Mapping[str, Any]], task: Told) -> tuple[str, ...]:
    made = next((row for row in rows if not row.get("failed")), None)
    titles = [fact.title for fact in task.candidate(made)] if made else []
    return (*titles, *_COSTS)


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"
