"""How big the gang was when, and why it changed: out of a run's events. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tally.reports import plot, words
from tally.reports.history import Event, History
from tally.reports.plot import Dot, Line, Plot
from tally.reports.timing import breaks, time_axis


@dataclass(frozen=True)
class Row:
    """One decision: when, from which size to which, why, what it was to save and what it did."""

    at: str
    change: str
    reason: str
    predicted: str
    actual: str


@dataclass(frozen=True)
class Scaled:
    """Decisions in order, and the size over running time; None where it never had one."""

    rows: tuple[Row, ...]
    sizes: Plot | None


def lay_out(events: Iterable[Event], history: History) -> Scaled | None:
    """What the report shows of it; None where nothing was decided and the size never changed.

    Args:
        events: of all attempts, in any order.
        history: read from them.
    """
    starts = {attempt.number: attempt for attempt in history.attempts}

    def seconds(row: Event) -> float:
        attempt = starts[int(row.get("attempt", 1))]
        since = float(row["at_microseconds"]) - attempt.first_microseconds
        return attempt.start_seconds + since / 1e6

    known = [row for row in events if row.get("event") in _KINDS and "at_microseconds" in row]
    placed = sorted(((seconds(row), row) for row in known), key=lambda pair: pair[0])
    rows = _rows(placed)
    formed = [
        (at, int(row.get("attempt", 1)), len(row.get("workers", ())))
        for at, row in placed
        if row["event"] == "generation"
    ]
    if not rows and len({workers for _, _, workers in formed}) < 2:
        return None
    return Scaled(tuple(rows), _plot(formed, placed, history))


_KINDS = ("generation", "decision", "decision_outcome", "stopped")


def _rows(placed: list[tuple[float, Event]]) -> list[Row]:
    """An outcome belongs to the last decision that led to its size."""
    rows: list[Row] = []
    open_rows: dict[str, int] = {}
    for at, row in placed:
        before, after = row.get("before"), row.get("after")
        if row["event"] == "stopped":
            rows.append(Row(words.duration(at), "stop", _stopped(row), "", ""))
        elif not (isinstance(before, Mapping) and isinstance(after, Mapping)):
            continue
        elif row["event"] == "decision_outcome":
            index = open_rows.pop(_change(before, after), None)
            if index is not None:
                found = rows[index]
                actual = f"{_usd(row.get('saving_usd'))} in {words.duration(row['seconds'])}"
                rows[index] = Row(found.at, found.change, found.reason, found.predicted, actual)
        else:
            change = _change(before, after)
            saving = _usd(row.get("predicted_saving_usd")) if before != after else ""
            open_rows[change] = len(rows)
            rows.append(Row(words.duration(at), change, str(row.get("reason", "")), saving, ""))
    return rows


def _stopped(row: Event) -> str:
    spent, limit = row.get("spent_usd"), row.get("budget_usd")
    text = f"the {row.get('reason')} was reached with {_usd(spent)} spent"
    text += f" of {_usd(limit)}" if limit else ""
    if row.get("remaining_hours") is not None:
        left = words.duration(3600 * row["remaining_hours"])
        text += f"; {words.count(row['remaining_examples'])} examples remain, about {left} and "
        text += _usd(row.get("remaining_usd"))
    return text


def _change(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """From which size to which; what does not change is said once."""
    if before == after:
        return f"stay at {_name(before)}"
    batch = ""
    if before.get("batch_size") != after.get("batch_size"):
        batch = f", batch {before.get('batch_size')} → {after.get('batch_size')}"
    if _place(before) == _place(after):
        return f"{_name(before)}{batch}"
    return f"{_name(before)} → {_name(after)}{batch}"


def _name(size: Mapping[str, Any]) -> str:
    kind = size.get("machine_type")
    return f"{size.get('workers')} × {kind}" if kind else f"{size.get('workers')} workers"


def _place(size: Mapping[str, Any]) -> tuple[object, object]:
    return size.get("machine_type"), size.get("workers")


def _usd(value: object) -> str:
    return words.usd(value) if isinstance(value, int | float) else "–"


def _plot(
    formed: list[tuple[float, int, int]], placed: list[tuple[float, Event]], history: History
) -> Plot | None:
    """A line of steps for each attempt, and a mark at each change that was decided."""
    if not formed:
        return None
    x, x_ticks = time_axis(history.seconds)
    most = max(workers for _, _, workers in formed)
    y, y_ticks = plot.y_axis([0.0, float(max(most, 2))])
    lines = []
    for attempt in history.attempts:
        own = [(at, workers) for at, number, workers in formed if number == attempt.number]
        points: list[plot.Point] = []
        for at, workers in own:
            points += [(at, points[-1][1])] if points else []
            points.append((at, float(workers)))
        if points:
            points.append((attempt.end_seconds, points[-1][1]))
            lines.append(Line(plot.path(points, x, y), "line train", f"attempt {attempt.number}"))
    decided = [
        Dot(x.percent(at), plot.HEIGHT, "checkpoint", _change(row["before"], row["after"]))
        for at, row in placed
        if row["event"] == "decision" and row.get("before") != row.get("after")
    ]
    sizes = [workers for _, _, workers in formed]
    return Plot(
        key="sizes",
        title="Workers",
        description=f"From {sizes[0]} to {sizes[-1]} workers, {min(sizes)} to {most} over the run, "
        f"with {len(decided)} decided change(s).",
        x_label="running time",
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        lines=tuple(lines),
        dots=tuple(decided),
        rules=breaks(history.attempts, x),
    )
