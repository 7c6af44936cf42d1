"""Candidates' results against what they cost, with the fronts that nothing beats. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tally.reports import plot, words
from tally.reports.plot import Dot, Line, Plot
from tally.tasks.task import Headline

Row = Mapping[str, Any]
_AXES: tuple[tuple[str, str, Callable[[Row], float]], ...] = (
    (
        "latency",
        "milliseconds a prediction",
        lambda row: 1e3 * float(row["latency"]["batch_1"]["median_seconds"]),
    ),
    ("bytes", "bytes of the file", lambda row: float(row["bytes"])),
    ("cost", "dollars a million predictions", lambda row: float(row["usd_per_million"])),
)


def drawn(rows: Sequence[Row], headline: Headline) -> list[Plot]:
    """A plot for each cost; none where nothing was made."""
    made = [row for row in rows if not row.get("failed")]
    return [_front(made, headline, *axis) for axis in _AXES] if made else []


def _front(
    rows: Sequence[Row],
    headline: Headline,
    axis: str,
    label: str,
    cost: Callable[[Row], float],
) -> Plot:
    made = sorted(rows, key=cost)
    costs = [cost(row) for row in made]
    name, interval = headline.name, headline.interval
    x, x_ticks = plot.x_axis(1.1 * max(costs))
    tick = words.percent if headline.share else words.short
    y, y_ticks = plot.y_axis([bound for row in made for bound in row[interval]], tick)
    front = [row for row in made if axis in row["front"]]
    lines = [
        Line(
            plot.path([(c, row[interval][0]), (c, row[interval][1])], x, y),
            "whisker", f"{row['name']}: 95 % interval",
        )
        for c, row in zip(costs, made, strict=True)
    ]  # fmt: skip
    if len(front) > 1:
        points = [(cost(row), row[name]) for row in front]
        lines.append(Line(plot.path(points, x, y), "test", "nothing is better and cheaper"))
    dots = [
        Dot(
            x.percent(c), y.pixel(row[name]), "epoch",
            f"{row['name']}: {words.finely(headline, row[name])}, {words.short(c)} {label}",
            row["name"] if axis in row["front"] else "",
        )
        for c, row in zip(costs, made, strict=True)
    ]  # fmt: skip
    named = ", ".join(str(row["name"]) for row in front)
    return Plot(
        key=f"front-{axis}",
        title=f"{headline.axis} against {axis}",
        description=f"Nothing is both as good as and cheaper than {named}.",
        x_label=label,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        lines=tuple(lines),
        dots=tuple(dots),
    )
