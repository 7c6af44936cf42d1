"""The packaged tasks: the files of this folder. What imports them needs no numpy, no framework."""

import functools
import importlib
import pkgutil
from types import ModuleType
from typing import cast

from tally import tasks
from tally.errors import SpecError
from tally.tasks.task import Task

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
