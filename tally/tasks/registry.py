"""The tasks: the files of this folder. What imports them needs no numpy, and no framework."""

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any, cast

from tally import tasks
from tally.errors import SpecError
from tally.tasks.task import Column, Headline, Kind, Task

USUAL = "classification"
"""Of datasets and documents that are older than tasks."""


@functools.cache
def names() -> tuple[str, ...]:
    """The packaged tasks: the files and folders here that have a TASK."""
    found = (module.name for module in pkgutil.iter_modules(tasks.__path__))
    return tuple(name for name in found if hasattr(_module(name), "TASK"))


def named(name: str) -> Task:
    """The task of a name that a dataset has.

    Raises:
        SpecError: there is none.
    """
    try:
        found = getattr(_module(name), "TASK", None)
    except ModuleNotFoundError as error:
        if error.name and not f"{tasks.__name__}.{name}".startswith(error.name):
            raise  # what a task imports
        found = None
    if found is None:
        raise SpecError(
            f"task: expected one of {', '.join(names())}, got {name}; correct it, or use the Tally "
            "that has it"
        )
    return cast(Task, found)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{tasks.__name__}.{name}")


def of(document: Mapping[str, Any]) -> Task:
    """The task of an evaluation."""
    return named(str(document.get("task", USUAL)))


@functools.cache
def headlines() -> Mapping[str, Headline]:
    """Every task's, by its name."""
    found = (named(name).headline for name in names())
    return {headline.name: headline for headline in found}


def kind(measure: str) -> Kind:
    """How a measure is read that some task reports; another's is a number, the less the better."""
    found = (named(name).reported for name in names())
    return next((each[measure] for each in found if measure in each), Kind())


@functools.cache
def columns() -> Mapping[str, Column]:
    """Every task's figures of progress, by name."""
    return {name: column for task in names() for name, column in named(task).columns.items()}


def headline_among(measures: Mapping[str, Any]) -> Headline | None:
    """That which a run's measures have; None where nothing was evaluated."""
    return next((known for name, known in headlines().items() if name in measures), None)
