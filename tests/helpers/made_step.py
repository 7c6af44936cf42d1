"""A run, and a step of it at work, of which nothing stands in the environment."""

from pathlib import Path
from typing import Any

from tally.runcontext import RunContext
from tally.steps.recorder import Recorder
from tally.steps.step import Step


def context(folder: Path, **changes: Any) -> RunContext:
    """A run on this machine, whose submit is process 1; submit_pid=0 is one on a cluster."""
    usual = {"run_id": "r", "pipeline": "p", "attempt": 1, "folder": folder, "submit_pid": 1}
    return RunContext(**{**usual, **changes})


def made_step(folder: Path, name: str = "train", outbox: Any = None, **changes: Any) -> Step:
    return Step(name, context(folder, **changes), Recorder(), outbox)
