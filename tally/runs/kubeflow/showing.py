"""A run's steps drawn as they change: a table on a terminal, a line a change elsewhere."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tally.runs.kubeflow.steps import State, Step

ROWS = 20
_STYLES: Mapping[State, str] = {
    "pending": "dim", "starting": "cyan", "waiting": "yellow", "running": "cyan",
    "succeeded": "green", "failed": "red", "skipped": "dim", "stopped": "yellow",
}  # fmt: skip
_WORDS: Mapping[State, str] = {
    "starting": "is prepared by Kubeflow",
    "waiting": "waits for its pod",
}


class Shown(Protocol):
    """Something that shows a run."""

    def show(self, steps: Sequence[Step], word: str, reasons: Mapping[str, str]) -> None:
        """The run looks so now; `word` is its state as the server calls it."""

    def note(self, text: str) -> None:
        """Something to be said beside the steps."""

    def close(self) -> None:
        """Nothing more will come."""


class Lines:
    """A line for each change, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[str, State] = {}
        self._reasons: dict[str, str] = {}
        self._word = ""

    def show(self, steps: Sequence[Step], word: str, reasons: Mapping[str, str]) -> None:
        """Say what is new."""
        for step in steps:
            before = self._states.get(step.name, "pending")
            self._states[step.name] = step.state
            if step.state != before:
                self.note(f"{step.name}: {_state(step)}")
        for name, reason in new_reasons(self._reasons, reasons).items():
            self.note(f"{name or 'run'}: {reason}")
        if word == "CANCELING" and word != self._word:
            self.note("run: is being cancelled")
        self._word = word

    def note(self, text: str) -> None:
        """Say it."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is left on the screen to close."""


class Rows:
    """A table that is drawn anew, for terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: dict[str, float] = {}
        self._reasons: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=False)
        self._live.start()

    def show(self, steps: Sequence[Step], word: str, reasons: Mapping[str, str]) -> None:
        """Draw it."""
        for name, reason in new_reasons(self._reasons, reasons).items():
            self.note(f"{name or 'run'}: {reason}")
        for step in steps:
            if step.state not in ("pending", "starting"):
                self._began.setdefault(step.name, time.monotonic())
        self._live.update(self._table(steps, word, reasons))

    def note(self, text: str) -> None:
        """Say it above the table."""
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the table as it is."""
        self._live.stop()

    def _table(self, steps: Sequence[Step], word: str, reasons: Mapping[str, str]) -> Table:
        table = Table(box=None, show_header=False, pad_edge=False)
        done = sum(step.ended for step in steps)
        table.add_row(word.lower() or "pending", f"{done} of {len(steps)} steps", "", "")
        shown = list(steps) if len(steps) <= ROWS else worth_showing(steps)
        for step in shown:
            seconds = step.seconds
            if seconds is None and step.name in self._began:
                seconds = time.monotonic() - self._began[step.name]
            table.add_row(
                step.name,
                Text(_WORDS.get(step.state, step.state), style=_STYLES[step.state]),
                "" if seconds is None else _duration(seconds),
                Text("" if step.ended else reasons.get(step.name, ""), overflow="ellipsis"),
            )
        return table


def display(console: Console) -> Shown:
    """A table on a terminal, lines elsewhere."""
    return Rows(console) if console.is_terminal else Lines(console)


def worth_showing(steps: Sequence[Step]) -> list[Step]:
    """Of many steps those at work and those that failed, then the next ones."""
    at_work = [step for step in steps if step.state in ("failed", "waiting", "running", "starting")]
    return (at_work + [step for step in steps if step.state == "pending"])[:ROWS]


def new_reasons(said: dict[str, str], reasons: Mapping[str, str]) -> dict[str, str]:
    """What is not said yet, or has changed; from now on it is said."""
    new = {step: reason for step, reason in reasons.items() if said.get(step) != reason}
    said.update(new)
    return new


def _state(step: Step) -> str:
    words = _WORDS.get(step.state, step.state)
    if step.seconds is None or step.state not in ("succeeded", "failed", "stopped"):
        return words
    return f"{words} after {_duration(step.seconds)}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
