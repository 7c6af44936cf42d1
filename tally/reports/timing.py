"""The plots of when: throughput and the timeline, on one axis of running time."""

from collections.abc import Sequence
from dataclasses import dataclass

from tally.reports import plot, words
from tally.reports.history import Attempt, History, Span, by_attempt, median
from tally.reports.plot import Dot, Line, Plot, Rule, Scale, Tick


@dataclass(frozen=True)
class Bar:
    """A step on the timeline, in percent of the run's running time."""

    x: float
    width: float
    step: str
    ended: str
    title: str


@dataclass(frozen=True)
class Row:
    """One step's row of the timeline: its bars and the seconds of all of them."""

    step: str
    seconds: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Timeline:
    """Rows by step, in the order they began; breaks in percent where a later attempt starts."""

    rows: tuple[Row, ...]
    x_ticks: tuple[Tick, ...]
    breaks: tuple[Rule, ...]
    description: str


def throughput(history: History) -> Plot | None:
    """Examples a second over running time; None where nothing was measured."""
    rates = [s for s in history.samples if s.examples_per_second is not None]
    if not rates:
        return None
    x, x_ticks = time_axis(history.seconds)
    values = [s.examples_per_second or 0.0 for s in rates]
    y, y_ticks = plot.y_axis([0.0, *values])
    middle = median(values)
    lines = []
    for attempt, group in by_attempt(rates).items():
        points = [(s.at_seconds, s.examples_per_second or 0.0) for s in group]
        lines.append(Line(plot.path(points, x, y), "line train", f"attempt {attempt}"))
    saved = tuple(
        Dot(x.percent(at), plot.HEIGHT, "checkpoint", f"checkpoint at {words.duration(at)}")
        for at in history.checkpoints_seconds
    )
    rules = (
        *breaks(history.attempts, x),
        Rule(None, y.pixel(middle), "median", words.count(middle)),
    )
    return Plot(
        key="throughput",
        title="Examples a second",
        description=f"Median {words.count(middle)} examples a second, lowest "
        f"{words.count(min(values))}, highest {words.count(max(values))}, over "
        f"{words.duration(history.seconds)} in {len(history.attempts)} attempt(s), with "
        f"{len(saved)} checkpoint(s).",
        x_label="running time",
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        lines=tuple(lines),
        dots=saved,
        rules=rules,
    )


def timeline(history: History) -> Timeline | None:
    """Which step ran when; None without a step."""
    if not history.spans:
        return None
    x, x_ticks = time_axis(history.seconds)
    rows: dict[str, list[Span]] = {}
    for span in sorted(history.spans, key=lambda span: span.start_seconds):
        rows.setdefault(span.step, []).append(span)
    told = [
        f"{step} {words.duration(sum(s.end_seconds - s.start_seconds for s in spans))}"
        for step, spans in rows.items()
    ]
    return Timeline(
        rows=tuple(
            Row(
                step=step,
                seconds=sum(span.end_seconds - span.start_seconds for span in spans),
                bars=tuple(_bar(span, x) for span in spans),
            )
            for step, spans in rows.items()
        ),
        x_ticks=x_ticks,
        breaks=breaks(history.attempts, x),
        description=f"Running time by step: {', '.join(told)}.",
    )


def time_axis(seconds: float) -> tuple[Scale, tuple[Tick, ...]]:
    """Running time in its natural unit: seconds, minutes or hours, said once at the first tick."""
    unit, word = next(
        (size, word)
        for size, word, most in ((1.0, "s", 180.0), (60.0, "min", 10800.0), (3600.0, "h", 1e99))
        if seconds <= most
    )
    _, ticks = plot.x_axis(seconds / unit, label=lambda tick: f"{words.short(tick)} {word}")
    return Scale(0.0, seconds if seconds > 0 else 1.0), ticks


def breaks(attempts: Sequence[Attempt], x: Scale) -> tuple[Rule, ...]:
    """Where each attempt but the first begins."""
    return tuple(
        Rule(x.percent(attempt.start_seconds), None, "break", f"attempt {attempt.number}")
        for attempt in attempts[1:]
    )


def _bar(span: Span, x: Scale) -> Bar:
    length = span.end_seconds - span.start_seconds
    left = x.percent(span.start_seconds)
    return Bar(
        x=left,
        width=max(0.3, round(x.percent(span.end_seconds) - left, 3)),
        step=span.step,
        ended=span.ended,
        title=f"{span.step}, attempt {span.attempt}: {words.duration(length)}, {span.ended}",
    )
