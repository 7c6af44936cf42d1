"""The geometry of a plot: ticks, paths and thinning, as plain numbers for the SVG templates.

A plot is as wide as the page gives it, so x is a share (0..1000 in paths, percent elsewhere) and
only y is in pixels: on a phone the text keeps its size and the line alone is squeezed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tally.reports import words

Point = tuple[float, float]
HEIGHT = 190  # pixels of a plot's inside
WIDTH = 1000  # of a path's view box


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis; `at` is percent of the width, or pixels from the top."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One drawn line: its SVG path, a CSS class, and what a pointer resting on it reads."""

    path: str
    style: str
    title: str


@dataclass(frozen=True)
class Dot:
    """A marked point: percent from the left, pixels from the top; a label beside it or ""."""

    x: float
    y: float
    style: str
    title: str
    label: str = ""


@dataclass(frozen=True)
class Rule:
    """A line across the plot, vertical at x percent, or horizontal at y pixels."""

    x: float | None
    y: float | None
    style: str
    label: str


@dataclass(frozen=True)
class Band:
    """A shaded part of the x axis, in percent."""

    x: float
    width: float
    title: str


@dataclass(frozen=True)
class Plot:
    """Everything a template draws of one plot."""

    key: str
    title: str
    description: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...] = ()
    rules: tuple[Rule, ...] = ()
    bands: tuple[Band, ...] = ()
    height: int = HEIGHT


@dataclass(frozen=True)
class Scale:
    """Values low..high of an axis, onto 0..1; by their logarithms where `log`."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, 0..1, held inside the axis."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def percent(self, value: float) -> float:
        """Where it lies from the left, in percent."""
        return round(100 * self.share(value), 3)

    def pixel(self, value: float, height: int = HEIGHT) -> float:
        """Where it lies from the top, in pixels."""
        return round(height * (1 - self.share(value)), 2)


def steps(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers that cover low..high: at most `most` steps of 1, 2, 2.5 or 5 × 10^n."""
    if not high > low:
        low, high = sorted((low / 2, low)) if low else (0.0, 1.0)
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
    return [index * size for index in range(first, last + 1)]


def y_axis(
    values: Sequence[float], label: Callable[[float], str] = words.short, height: int = HEIGHT
) -> tuple[Scale, tuple[Tick, ...]]:
    """A scale in round numbers around the values, and its ticks."""
    ticks = steps(min(values), max(values), most=4)
    scale = Scale(ticks[0], ticks[-1])
    return scale, tuple(Tick(scale.pixel(tick, height), label(tick)) for tick in ticks)


def log_axis(
    values: Sequence[float], label: Callable[[float], str] = words.short, height: int = HEIGHT
) -> tuple[Scale, tuple[Tick, ...]]:
    """A logarithmic scale around positive values, with ticks at 1, 2, 5 (or 1 alone) × 10^n.

    The values must span more than a factor of ten.
    """
    low, high = min(values), max(values)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = (1, 2, 5) if len(decades) <= 4 else (1,)
    every = [mark * 10.0**n for n in decades for mark in marks]
    bottom = max((tick for tick in every if tick <= low), default=every[0])
    top = min((tick for tick in every if tick >= high), default=every[-1])
    scale = Scale(bottom, top, log=True)
    shown = [tick for tick in every if bottom <= tick <= top]
    shown = shown[:: math.ceil(len(shown) / 9)]
    return scale, tuple(Tick(scale.pixel(tick, height), label(tick)) for tick in shown)


def x_axis(
    high: float, label: Callable[[float], str] = words.short, most: int = 5
) -> tuple[Scale, tuple[Tick, ...]]:
    """A scale from 0 to exactly `high`, and round ticks that lie inside it."""
    scale = Scale(0.0, high if high > 0 else 1.0)
    inside = [tick for tick in steps(0.0, scale.high, most) if 0 <= tick <= scale.high * 1.0001]
    return scale, tuple(Tick(scale.percent(tick), label(tick)) for tick in inside)


def thin(points: Sequence[Point], most: int = 400) -> list[Point]:
    """At most about `most` points that keep every peak and trough: the low and the high a bucket.

    Args:
        points: in order of x.
        most: 4 or more; fewer points than this come back as they are.
    """
    if len(points) <= most:
        return list(points)
    buckets = max(1, (most - 2) // 2)
    inner = points[1:-1]
    kept = [points[0]]
    for index in range(buckets):
        bucket = inner[index * len(inner) // buckets : (index + 1) * len(inner) // buckets]
        low = min(bucket, key=lambda point: point[1])
        high = max(bucket, key=lambda point: point[1])
        kept.extend(sorted({low, high}))
    return [*kept, points[-1]]


def path(points: Sequence[Point], x: Scale, y: Scale, height: int = HEIGHT) -> str:
    """The SVG path through the points, thinned; a lone point becomes a short dash."""
    if len(points) == 1:
        points = [points[0], (points[0][0] + (x.high - x.low) / 200, points[0][1])]
    drawn = [f"{WIDTH * x.share(a):.1f} {y.pixel(b, height):g}" for a, b in thin(points)]
    return "M" + "L".join(drawn)
