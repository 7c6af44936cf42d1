"""A run's progress, read from its steps' events and drawn: a bar a step, or a line every 10 s."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tally import clock, events

LINE_SECONDS = 10.0


class Tail:
    """The events that were appended to a run since the last look."""

    def __init__(self, folder: Path, *, whole: bool = False) -> None:
        """Of the run in this folder.

        Args:
            folder: of the run.
            whole: the first look has what is there already, too.
        """
        self._path = folder / "events.jsonl"
        there = not whole and self._path.exists()
        self._offset = self._path.stat().st_size if there else 0

    def new(self) -> Iterator[dict[str, Any]]:
        """New whole lines, oldest first."""
        if not self._path.exists():
            return
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        yield from events.parse(whole.splitlines(), str(self._path))


@dataclass(frozen=True)
class Price:
    """What the run costs an hour, time included, since when, and what it had cost before."""

    usd_per_hour: float
    began_microseconds: int
    before_usd: float

    def so_far(self) -> str:
        """The cost until now, as the bill will count it when no other run shares the machine."""
        hours = (clock.now_microseconds() - self.began_microseconds) / 3.6e9
        return f"${self.before_usd + self.usd_per_hour * hours:.4f}"


class Display(Protocol):
    """Something that shows events as they come."""

    def show(self, event: dict[str, Any]) -> None:
        """One event happened."""

    def tick(self) -> None:
        """Time has passed."""

    def close(self) -> None:
        """No more will come."""


def words(event: dict[str, Any]) -> str:
    """What a progress event says beside its bar: `epoch 2 · loss 0.0871 · 12,431 examples/s`."""
    parts = []
    if "epoch" in event:
        parts.append(f"epoch {event['epoch'] + 1}")
    if event.get("loss") is not None:
        parts.append(f"loss {event['loss']:.4f}")
    if event.get("examples_per_second"):
        parts.append(f"{event['examples_per_second']:,.0f} examples/s")
    return " · ".join(parts)


def decided(event: dict[str, Any]) -> str:
    """A decision about the size: `2 → 1 workers: …`."""
    before, after = event["before"], event["after"]
    if before["workers"] == after["workers"]:
        return f"size: {event['reason']}"
    return f"size {before['workers']} → {after['workers']} workers: {event['reason']}"


class Bars:
    """A live bar for each step, for terminals."""

    def __init__(self, console: Console, price: Price) -> None:
        self._price = price
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[cost]}"),
            console=console,
            refresh_per_second=8,
            expand=False,
        )
        self._progress.start()

    def show(self, event: dict[str, Any]) -> None:
        """Move the bar of the event's step."""
        name = event["step"]
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None, words="", cost="")
        task = self._tasks[name]
        if event["event"] == "progress":
            self._progress.update(
                task,
                completed=event["done"],
                total=event["total"] or None,
                words=words(event),
                cost=self._price.so_far(),
            )
        elif event["event"] == "step_ended":
            total = self._progress.tasks[task].total or 1
            self._progress.update(
                task, completed=total, total=total, cost=self._price.so_far(), visible=True
            )
        elif event["event"] == "note":
            self._progress.console.print(event["message"], markup=False, highlight=False)
        elif event["event"] == "decision":
            self._progress.console.print(decided(event), markup=False, highlight=False)

    def tick(self) -> None:
        """The bars draw themselves."""

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()


class Lines:
    """A line when a step begins and ends and every 10 s, for logs and pipes."""

    def __init__(self, console: Console, price: Price) -> None:
        self._console, self._price = console, price
        self._latest: dict[str, Any] | None = None
        self._said = time.monotonic()

    def show(self, event: dict[str, Any]) -> None:
        """Say beginnings, ends and notes at once; keep progress for the next line."""
        match event["event"]:
            case "progress":
                self._latest = event
            case "step_started" | "step_ended":
                self._latest = None
                verb = event["event"].removeprefix("step_")
                self._say(f"{event['step']}: {verb}, cost so far {self._price.so_far()}")
            case "note":
                self._say(f"{event['step']}: {event['message']}")
            case "decision":
                self._say(f"{event['step']}: {decided(event)}")

    def tick(self) -> None:
        """Say where the step is, every 10 s."""
        if self._latest and time.monotonic() - self._said >= LINE_SECONDS:
            latest = self._latest
            share = f"{100 * latest['done'] / latest['total']:.0f}% · " if latest["total"] else ""
            cost = self._price.so_far()
            self._say(f"{latest['step']}: {share}{words(latest)} · cost so far {cost}")

    def close(self) -> None:
        """Nothing is left on the screen to close."""

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def display(console: Console, price: Price) -> Display:
    """Bars on a terminal, lines elsewhere."""
    return Bars(console, price) if console.is_terminal else Lines(console, price)
