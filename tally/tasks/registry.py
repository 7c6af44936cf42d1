"""The tasks: the files of this folder."""

import importlib
from typing import cast

from tally.tasks.task import Task


def named(name: str) -> Task:
    """The task of a name that a dataset has."""
    return cast(Task, importlib.import_module(f"{__package__}.{name}").TASK)
