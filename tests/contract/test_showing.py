"""What of a run is drawn."""

import io

from rich.console import Console

from tally.runs.kubeflow.showing import ROWS, Lines, Rows, worth_showing
from tally.runs.kubeflow.steps import State, Step

REASONS = {"train": "Unschedulable: 0/1 nodes are available"}


def made(*states: State) -> list[Step]:
    return [Step(f"step-{number}", state) for number, state in enumerate(states)]


def test_of_many_steps_those_at_work_come_first() -> None:
    steps = made(*["succeeded"] * 100, "running", "failed", *["pending"] * 98)
    shown = worth_showing(steps)
    assert [step.state for step in shown[:3]] == ["running", "failed", "pending"]
    assert len(shown) == ROWS


def test_lines_say_each_change_and_each_reason_once() -> None:
    text = io.StringIO()
    lines = Lines(Console(file=text, width=200))
    for state in ("pending", "starting", "waiting", "waiting", "running", "running"):
        waits: State = state  # type: ignore[assignment]
        lines.show([Step("train", waits)], "RUNNING", REASONS if state == "waiting" else {})
    lines.show([Step("train", "succeeded", 3700.0)], "SUCCEEDED", {})
    assert text.getvalue().splitlines() == [
        "train: is prepared by Kubeflow",
        "train: waits for its pod",
        "train: Unschedulable: 0/1 nodes are available",
        "train: running",
        "train: succeeded after 1 h 1 min",
    ]


def test_a_terminal_shows_all_steps_of_a_small_run_and_why_one_waits() -> None:
    text = io.StringIO()
    rows = Rows(Console(file=text, force_terminal=True, width=120))
    rows.show([Step("prepare", "succeeded", 61.0), Step("train", "waiting")], "RUNNING", REASONS)
    rows.close()
    drawn = text.getvalue()
    for words in ("1 of 2 steps", "1 min 1 s", "waits for its pod", REASONS["train"]):
        assert words in drawn


def test_words_of_the_server_are_no_markup() -> None:
    text = io.StringIO()
    lines = Lines(Console(file=text, width=200))
    lines.show([Step("train", "waiting")], "RUNNING", {"train": "[bold]no[/] tag [x"})
    assert "train: [bold]no[/] tag [x" in text.getvalue()
