"""What evaluate found beside accuracy, laid out: candidates, calibration, ROC, the fronts. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tally.reports import plot, words
from tally.reports.plot import Dot, Line, Plot, Scale, Tick

CURVES = 6  # ROC curves drawn: those of the classes told apart worst


@dataclass(frozen=True)
class Number:
    """A figure of evaluation.json: where it stands there, its value, and as it is shown."""

    key: str
    value: Any
    text: str


@dataclass(frozen=True)
class Row:
    """A candidate: its name, why it failed or "", its figures, and on which fronts it is."""

    name: str
    failed: str
    numbers: tuple[Number, ...]
    front: str
    promoted: bool


@dataclass(frozen=True)
class Beside:
    """A baseline: its method, its accuracy with interval, the model's less that with interval."""

    described: str
    accuracy: tuple[Number, ...]
    difference: tuple[Number, ...]


@dataclass(frozen=True)
class Judged:
    """What the templates show."""

    facts: tuple[tuple[str, tuple[Number, ...]], ...]
    rows: tuple[Row, ...]
    plots: tuple[Plot, ...]
    baseline: "Beside | None"
    verdict: str
    drift: str
    drift_numbers: tuple[Number, ...]


HEADS = (
    "Accuracy", "95 %", "Macro F1", "Calibration error", "Bytes", "Compressed", "Zeros",
    "One at a time", "slowest 5 %", "32 at once", "$ a million",
)  # fmt: skip
_AXES: tuple[tuple[str, str, Callable[[Mapping[str, Any]], float], Callable[[float], str]], ...] = (
    (
        "latency", "milliseconds a prediction",
        lambda row: 1e3 * float(row["latency"]["batch_1"]["median_seconds"]), words.short,
    ),
    ("bytes", "bytes of the file", lambda row: float(row["bytes"]), words.short),
    (
        "cost", "dollars a million predictions",
        lambda row: float(row["usd_per_million"]), words.short,
    ),
)  # fmt: skip


def lay_out(evaluation: Mapping[str, Any]) -> Judged | None:
    """Of an evaluation of schema 2 or newer; None of an older one, which has none of it."""
    if int(evaluation.get("schema", 1)) < 2:
        return None
    verdict = evaluation.get("verdict") or {}
    rows = evaluation.get("candidates") or []
    plots = [_calibration(evaluation), _roc(evaluation), *(_front(rows, *axis) for axis in _AXES)]
    drift = verdict.get("drift") or {}
    return Judged(
        facts=_facts(evaluation),
        rows=tuple(_row(k, row, verdict) for k, row in enumerate(rows)),
        plots=tuple(each for each in plots if each),
        baseline=_beside(evaluation.get("baseline")),
        verdict=str(verdict.get("reason", "")),
        drift=str(drift.get("word") or ""),
        drift_numbers=tuple(
            Number(f"verdict.drift.{name}", drift[name], f"{drift[name]:.3f}")
            for name in ("labels", "features", "worst_feature")
            if drift.get(name) is not None
        ),
    )


def _facts(evaluation: Mapping[str, Any]) -> tuple[tuple[str, tuple[Number, ...]], ...]:
    def share(key: str, value: float) -> Number:
        return Number(key, value, words.percent(value, 2))

    intervals = evaluation["intervals"]
    found: list[tuple[str, tuple[Number, ...]]] = [
        (
            title,
            (
                share(name, evaluation[name]),
                share(f"intervals.{name}.0", intervals[name][0]),
                share(f"intervals.{name}.1", intervals[name][1]),
            ),
        )
        for title, name in (("Accuracy", "test_accuracy"), ("Macro F1", "macro_f1"))
    ]
    error = evaluation["calibration"]["error"]
    found.append(("Calibration error", (Number("calibration.error", error, f"{error:.4f}"),)))
    area = evaluation["roc"]["macro_auc"]
    if area is not None:
        found.append(("Area under ROC", (Number("roc.macro_auc", area, f"{area:.4f}"),)))
    return tuple(found)


def _beside(baseline: Mapping[str, Any] | None) -> Beside | None:
    if not baseline:
        return None
    low, high = baseline["intervals"]["test_accuracy"]
    least, most = baseline["difference_interval"]
    return Beside(
        described=str(baseline["described"]),
        accuracy=(
            Number("baseline.test_accuracy", baseline["test_accuracy"],
                   words.percent(baseline["test_accuracy"], 2)),
            Number("baseline.intervals.test_accuracy.0", low, words.percent(low, 2)),
            Number("baseline.intervals.test_accuracy.1", high, words.percent(high, 2)),
        ),
        difference=(
            Number("baseline.difference", baseline["difference"], _points(baseline["difference"])),
            Number("baseline.difference_interval.0", least, _points(least)),
            Number("baseline.difference_interval.1", most, _points(most)),
        ),
    )  # fmt: skip


def _points(share: float) -> str:
    return f"{100 * share:+.2f} points"


def _row(k: int, row: Mapping[str, Any], verdict: Mapping[str, Any]) -> Row:
    if row.get("failed"):
        return Row(row["name"], str(row["failed"]), (), "", False)
    at = f"candidates.{k}"
    low, high = row["accuracy_interval"]
    one, many = row["latency"]["batch_1"], row["latency"]["batch_32"]
    numbers = (
        Number(f"{at}.test_accuracy", row["test_accuracy"], words.percent(row["test_accuracy"], 2)),
        Number(f"{at}.accuracy_interval.0", low, words.percent(low)),
        Number(f"{at}.accuracy_interval.1", high, words.percent(high)),
        Number(f"{at}.macro_f1", row["macro_f1"], words.percent(row["macro_f1"], 2)),
        Number(f"{at}.calibration_error", row["calibration_error"],
               f"{row['calibration_error']:.4f}"),
        Number(f"{at}.bytes", row["bytes"], words.count(row["bytes"])),
        Number(f"{at}.compressed_bytes", row["compressed_bytes"],
               words.count(row["compressed_bytes"])),
        Number(f"{at}.sparsity", row["sparsity"], words.percent(row["sparsity"])),
        Number(f"{at}.latency.batch_1.median_seconds", one["median_seconds"],
               _milliseconds(one["median_seconds"])),
        Number(f"{at}.latency.batch_1.p95_seconds", one["p95_seconds"],
               _milliseconds(one["p95_seconds"])),
        Number(f"{at}.latency.batch_32.median_seconds", many["median_seconds"],
               _milliseconds(many["median_seconds"])),
        Number(f"{at}.usd_per_million", row["usd_per_million"], words.usd(row["usd_per_million"])),
    )  # fmt: skip
    promoted = bool(verdict.get("version")) and verdict.get("candidate") == row["name"]
    return Row(row["name"], "", numbers, ", ".join(row["front"]), promoted)


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _calibration(evaluation: Mapping[str, Any]) -> Plot | None:
    bins = [each for each in evaluation["calibration"]["bins"] if each["count"]]
    if not bins:
        return None
    scale = Scale(0.0, 1.0)
    error = evaluation["calibration"]["error"]
    points = [(each["confidence"], each["accuracy"]) for each in bins]
    dots = [
        Dot(
            scale.percent(x), scale.pixel(y), "epoch",
            f"{words.count(each['count'])} predictions with confidence {words.percent(x)}: "
            f"{words.percent(y)} right",
        )
        for each, (x, y) in zip(bins, points, strict=True)
    ]  # fmt: skip
    return Plot(
        key="calibration",
        title="Calibration",
        description=f"How often predictions are right, by confidence; mean gap {error:.4f}.",
        x_label="confidence; on the dashed line it is as often right as it says",
        x_ticks=_shares(scale),
        y_ticks=_shares_down(scale),
        lines=(
            Line(plot.path([(0, 0), (1, 1)], scale, scale), "test", "as often right as it says"),
            Line(plot.path(points, scale, scale), "line judged", f"calibration error {error:.4f}"),
        ),
        dots=tuple(dots),
    )


def _roc(evaluation: Mapping[str, Any]) -> Plot | None:
    areas = {each["class"]: each.get("auc") for each in evaluation["per_class"]}
    curves = [c for c in evaluation["roc"]["curves"] if areas.get(c["class"]) is not None]
    if not curves:
        return None
    curves = sorted(curves, key=lambda curve: areas[curve["class"]])[:CURVES]
    scale = Scale(0.0, 1.0)
    lines = [Line(plot.path([(0, 0), (1, 1)], scale, scale), "test", "guessing")]
    for curve in curves:
        points = list(zip(curve["false_positive_rate"], curve["true_positive_rate"], strict=True))
        told = f"{curve['class']}: area {areas[curve['class']]:.4f}"
        lines.append(Line(plot.path(points, scale, scale), "line judged", told))
    worst = curves[0]["class"]
    return Plot(
        key="roc",
        title="ROC",
        description=f"One class against the rest; {worst} is told apart worst, with an area of "
        f"{areas[worst]:.4f}.",
        x_label="others taken for the class; up: of the class found"
        + (f" (the {CURVES} classes told apart worst)" if len(areas) > CURVES else ""),
        x_ticks=_shares(scale),
        y_ticks=_shares_down(scale),
        lines=tuple(lines),
    )


def _front(
    rows: Sequence[Mapping[str, Any]],
    axis: str,
    label: str,
    cost: Callable[[Mapping[str, Any]], float],
    tick: Callable[[float], str],
) -> Plot | None:
    made = sorted((row for row in rows if not row.get("failed")), key=cost)
    if not made:
        return None
    costs = [cost(row) for row in made]
    ends = [bound for row in made for bound in row["accuracy_interval"]]
    x, x_ticks = plot.x_axis(1.1 * max(costs), tick)
    y, y_ticks = plot.y_axis(ends, words.percent)
    front = [row for row in made if axis in row["front"]]
    whiskers = [
        Line(
            plot.path([(c, row["accuracy_interval"][0]), (c, row["accuracy_interval"][1])], x, y),
            "whisker", f"{row['name']}: 95 % interval",
        )
        for c, row in zip(costs, made, strict=True)
    ]  # fmt: skip
    if len(front) > 1:
        points = [(cost(row), row["test_accuracy"]) for row in front]
        whiskers.append(Line(plot.path(points, x, y), "test", "nothing is better and cheaper"))
    dots = [
        Dot(
            x.percent(c), y.pixel(row["test_accuracy"]), "epoch",
            f"{row['name']}: {words.percent(row['test_accuracy'], 2)}, {tick(c)} {label}",
            row["name"] if axis in row["front"] else "",
        )
        for c, row in zip(costs, made, strict=True)
    ]  # fmt: skip
    named = ", ".join(str(row["name"]) for row in front)
    return Plot(
        key=f"front-{axis}",
        title=f"Accuracy against {axis}",
        description=f"Nothing is both as accurate as and cheaper than {named}.",
        x_label=label,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        lines=tuple(whiskers),
        dots=tuple(dots),
    )


def _shares(scale: Scale) -> tuple[Tick, ...]:
    return tuple(Tick(scale.percent(v), f"{v:g}") for v in (0, 0.25, 0.5, 0.75, 1))


def _shares_down(scale: Scale) -> tuple[Tick, ...]:
    return tuple(Tick(scale.pixel(v), f"{v:g}") for v in (0, 0.25, 0.5, 0.75, 1))
