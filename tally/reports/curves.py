"""The learning curve: loss and figures over epochs, what was done again, the test split."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tally.reports import plot, words
from tally.reports.history import Epoch, History, Sample, by_attempt
from tally.reports.plot import Band, Dot, Line, Plot, Rule, Scale, Tick
from tally.tasks.task import Column

Pick = Callable[[Sample | Epoch], float | None]


@dataclass(frozen=True)
class _Measure:
    """What a curve shows: how to find it, its best value (kept on the axis), how to print it."""

    key: str
    title: str
    pick: Pick
    ideal: float
    figure: Callable[[float], str]
    tick: Callable[[float], str]


def learning(
    history: History,
    evaluation: Mapping[str, object] | None,
    columns: Mapping[str, Column],
) -> list[Plot]:
    """Loss and figures over epochs (over examples where no epoch ended); [] without a figure."""
    per_epoch = _examples_per_epoch(history)
    highest = max([sample.done for sample in history.samples], default=0.0)
    if per_epoch:
        ended = max([epoch.number * per_epoch for epoch in history.epochs], default=0.0)
        high = (history.total or max(highest, ended)) / per_epoch
        axis = plot.x_axis(high, most=min(10, max(1, round(high))))
        label = f"epochs, of {words.count(per_epoch)} examples each" if per_epoch > 1 else "epochs"
    else:
        axis = plot.x_axis(history.total or highest)
        label = "examples"
    scaled = Scale(0.0, axis[0].high * (per_epoch or 1.0))
    axes = (scaled, axis[1], label)
    drawn = [
        _curve(history, measure, axes, per_epoch, evaluation) for measure in _measures(columns)
    ]
    return [one for one in drawn if one is not None]


def _curve(
    history: History,
    measure: _Measure,
    x_axis: tuple[Scale, tuple[Tick, ...], str],
    per_epoch: float | None,
    evaluation: Mapping[str, object] | None,
) -> Plot | None:
    x, x_ticks, x_label = x_axis
    figure, title = measure.figure, measure.title
    samples = [sample for sample in history.samples if measure.pick(sample) is not None]
    ends = [
        (epoch.number, value)
        for epoch in history.epochs
        if per_epoch and (value := measure.pick(epoch)) is not None
    ]
    values = [value for sample in samples if (value := measure.pick(sample)) is not None]
    values += [value for _, value in ends]
    if not values:
        return None
    test = _finite((evaluation or {}).get(f"test_{measure.key}"))
    tested = [] if test is None else [test]
    y, y_ticks = _y_axis(measure, [*values, *tested])
    dots = [
        Dot(x.percent(n * (per_epoch or 1)), y.pixel(v), "epoch", f"epoch {n}: {figure(v)}")
        for n, v in ends
    ]
    told = f"{title} went from {figure(values[0])} to {figure(values[-1])}"
    return Plot(
        key=measure.key,
        title=title,
        description=told + "".join(f"; on the test split {figure(v)}" for v in tested) + ".",
        x_label=x_label + (", log scale" if y.log else ""),
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        lines=tuple(_lines(samples, measure.pick, x, y)),
        dots=tuple(dots) if len(dots) <= 60 or not samples else (),
        rules=tuple(Rule(None, y.pixel(v), "test", f"test {figure(v)}") for v in tested),
        bands=_done_again(history, x),
    )


def _y_axis(measure: _Measure, values: Sequence[float]) -> tuple[Scale, tuple[Tick, ...]]:
    """In logarithms for a loss that falls to less than a tenth: else its end is a flat line."""
    if measure.key == "loss" and 0 < min(values) < max(values) / 10:
        return plot.log_axis(values, measure.tick)
    return plot.y_axis([measure.ideal, *values], measure.tick)


def _lines(samples: Sequence[Sample], pick: Pick, x: Scale, y: Scale) -> list[Line]:
    lines = []
    for attempt, group in by_attempt(samples).items():
        points = [(s.done, value) for s in group if (value := pick(s)) is not None]
        lines.append(Line(plot.path(points, x, y), "line train", f"attempt {attempt}"))
    return lines


def _done_again(history: History, x: Scale) -> tuple[Band, ...]:
    """What an earlier attempt had reached beyond the place where a later one began."""
    bands = []
    for attempt, begun in history.began_at.items():
        reached = max((s.done for s in history.samples if s.attempt < attempt), default=0.0)
        if reached > begun:
            left = x.percent(begun)
            title = f"{words.count(reached - begun)} examples lost, done again by attempt {attempt}"
            bands.append(Band(left, max(0.3, round(x.percent(reached) - left, 3)), title))
    return tuple(bands)


def _examples_per_epoch(history: History) -> float | None:
    """Examples in an epoch: said by prepare, else seen over the epochs that ended; 1.0 where
    nothing tells, so that epochs are counted. None where none ended."""
    said = history.facts.get("train_examples")
    if isinstance(said, int) and said > 0:
        return float(said)
    if history.epochs and history.samples:
        return max(s.done for s in history.samples) / history.epochs[-1].number or None
    return 1.0 if history.epochs else None


def _finite(value: object) -> float | None:
    known = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if known else None  # type: ignore[arg-type]


def _three(value: float) -> str:
    return f"{value:.3g}"


def _percent(share: float) -> str:
    return words.percent(share)


def _whole_percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _measures(columns: Mapping[str, Column]) -> Iterator[_Measure]:
    yield _Measure("loss", "Training loss", lambda at: at.loss, 0.0, _three, words.short)
    for name, column in columns.items():
        figure, tick = (_percent, _whole_percent) if column.share else (_three, words.short)
        pick = functools.partial(_figure, name)
        yield _Measure(name, column.title, pick, column.best, figure, tick)


def _figure(name: str, at: Sample | Epoch) -> float | None:
    return at.figures.get(name)
