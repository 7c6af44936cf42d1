"""A task's charts as plots. Pure."""

from collections.abc import Callable

from tally.reports import plot, words
from tally.reports.plot import Dot, Line, Plot, Scale, Tick
from tally.tasks.sections import Chart

_UNIT = (0, 0.25, 0.5, 0.75, 1)


def drawn(chart: Chart) -> Plot:
    """Lines that guide are dashed; what has no point at all is an empty plot."""
    points = [point for series in chart.series for point in series.points]
    points += [(mark.x, mark.y) for mark in chart.marks]
    x, x_ticks = _axis([a for a, _ in points], chart.unit, Scale.percent)
    y, y_ticks = _axis([b for _, b in points], chart.unit, Scale.pixel)
    return Plot(
        key=chart.key,
        title=chart.title,
        description=chart.description,
        x_label=chart.x_label,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        lines=tuple(
            Line(plot.path(one.points, x, y), "test" if one.guide else "line judged", one.told)
            for one in chart.series
        ),
        dots=tuple(Dot(x.percent(m.x), y.pixel(m.y), "epoch", m.told) for m in chart.marks),
    )


def _axis(
    values: list[float], unit: bool, at: Callable[[Scale, float], float]
) -> tuple[Scale, tuple[Tick, ...]]:
    """In quarters from 0 to 1, else in round numbers around the values."""
    ticks = list(_UNIT) if unit else plot.steps(min(values), max(values), most=4)
    scale = Scale(float(ticks[0]), float(ticks[-1]))
    label = "{:g}".format if unit else words.short
    return scale, tuple(Tick(at(scale, tick), label(tick)) for tick in ticks)
