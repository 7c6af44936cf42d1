"""What a report shows of a classifier."""

from collections.abc import Mapping
from typing import Any

from tally.tasks.sections import (
    Chart,
    Fact,
    Grid,
    Mark,
    Section,
    Series,
    Shown,
    Table,
    percent,
)

CURVES = 6  # ROC curves drawn: those of the classes told apart worst


def sentence(measures: Mapping[str, Any]) -> str:
    """The evaluation in a sentence."""
    return (
        f"{percent(measures['test_accuracy'], 2)} of {measures['count']:,} test examples right, "
        f"loss {measures['test_loss']:.4g}, macro F1 {percent(measures['macro_f1'])}."
    )


def facts(measures: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Accuracy and macro F1 with their intervals, calibration error, area under the ROC."""
    intervals = measures["intervals"]
    found = [
        Fact(
            title,
            (
                Shown(name, measures[name], "fine share"),
                Shown(f"intervals.{name}.0", intervals[name][0], "fine share"),
                Shown(f"intervals.{name}.1", intervals[name][1], "fine share"),
            ),
        )
        for title, name in (("Accuracy", "test_accuracy"), ("Macro F1", "macro_f1"))
    ]
    error, area = measures["calibration"]["error"], measures["roc"]["macro_auc"]
    found.append(Fact("Calibration error", (Shown("calibration.error", error, "four places"),)))
    if area is not None:
        found.append(Fact("Area under ROC", (Shown("roc.macro_auc", area, "four places"),)))
    return tuple(found)


def candidate(row: Mapping[str, Any]) -> tuple[Fact, ...]:
    """A candidate's measures, by the titles of its columns."""
    low, high = row["accuracy_interval"]
    return (
        Fact("Accuracy", (Shown("test_accuracy", row["test_accuracy"], "fine share"),)),
        Fact(
            "95 %",
            (
                Shown("accuracy_interval.0", low, "share"),
                Shown("accuracy_interval.1", high, "share"),
            ),
        ),
        Fact("Macro F1", (Shown("macro_f1", row["macro_f1"], "fine share"),)),
        Fact(
            "Calibration error",
            (Shown("calibration_error", row["calibration_error"], "four places"),),
        ),
    )


def sections(measures: Mapping[str, Any]) -> tuple[Section, ...]:
    """Calibration and ROC, the confusion matrix, the measures by class."""
    found = [_calibration(measures), _roc(measures), _grid(measures), _classes(measures)]
    return tuple(section for section in found if section is not None)


def _calibration(measures: Mapping[str, Any]) -> Chart | None:
    bins = [each for each in measures.get("calibration", {}).get("bins", ()) if each["count"]]
    if not bins:
        return None
    error = measures["calibration"]["error"]
    points = [(each["confidence"], each["accuracy"]) for each in bins]
    return Chart(
        key="calibration",
        title="Calibration",
        description=f"How often predictions are right, by confidence; mean gap {error:.4f}.",
        x_label="confidence; on the dashed line it is as often right as it says",
        series=(
            Series([(0, 0), (1, 1)], "as often right as it says", guide=True),
            Series(points, f"calibration error {error:.4f}"),
        ),
        marks=tuple(
            Mark(x, y, f"{each['count']:,} predictions with confidence {percent(x)}: "
                 f"{percent(y)} right")
            for each, (x, y) in zip(bins, points, strict=True)
        ),
        unit=True,
    )  # fmt: skip


def _roc(measures: Mapping[str, Any]) -> Chart | None:
    areas = {each["class"]: each.get("auc") for each in measures.get("per_class", ())}
    curves = measures.get("roc", {}).get("curves", ())
    known = [curve for curve in curves if areas.get(curve["class"]) is not None]
    if not known:
        return None
    known = sorted(known, key=lambda curve: areas[curve["class"]])[:CURVES]
    worst = known[0]["class"]
    few = f" (the {CURVES} classes told apart worst)" if len(areas) > CURVES else ""
    return Chart(
        key="roc",
        title="ROC",
        description=f"One class against the rest; {worst} is told apart worst, with an area of "
        f"{areas[worst]:.4f}.",
        x_label=f"others taken for the class; up: of the class found{few}",
        series=(
            Series([(0, 0), (1, 1)], "guessing", guide=True),
            *(
                Series(
                    list(zip(each["false_positive_rate"], each["true_positive_rate"], strict=True)),
                    f"{each['class']}: area {areas[each['class']]:.4f}",
                )
                for each in known
            ),
        ),
        unit=True,
    )


def _grid(measures: Mapping[str, Any]) -> Grid | None:
    names = tuple(str(name) for name in measures.get("class_names", ()))
    counts = measures.get("confusion") or []
    if not names or len(counts) != len(names):
        return None
    return Grid(
        title="Confusion matrix",
        note="rows: true class, columns: predicted",
        names=names,
        counts=counts,
        pairs="Most often confused",
        heads=("True", "Taken for", "Times", "Of class"),
        none="No test example was confused with another class.",
        total="{right} of {all} test examples right in {names} classes",
    )


def _classes(measures: Mapping[str, Any]) -> Table | None:
    rows = measures.get("per_class") or ()
    keys = ("precision", "recall", "f1", "support")
    if not rows:
        return None
    return Table(
        title="By class",
        heads=("Class", "Precision", "Recall", "F1", "Examples"),
        forms=("share", "share", "share", "count"),
        rows=tuple((str(row["class"]), tuple(row[key] for key in keys)) for row in rows),
        weakest=2,
        many="classes",
    )
