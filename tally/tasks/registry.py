"""Tasks by name: a packaged one, or a Python file of a user's that has one of its own."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tally import userfile
from tally.errors import SpecError
from tally.tasks import kept, packaged
from tally.tasks.packaged import USUAL as USUAL
from tally.tasks.packaged import names as names
from tally.tasks.task import Headline, Task


def named(name: str) -> Task:
    """The task of a name that a dataset has.

    Raises:
        SpecError: there is none, or it is none.
    """
    if not userfile.is_user_file(name):
        return packaged.named(name)
    if name not in _own:
        own(name, userfile.members(name, "dataset", "TASK")[1])
    return _own[name]


def own(path: str, task: Any) -> str:
    """The name of a user's file as a task, which this process knows from now on.

    Args:
        path: of the file.
        task: its TASK.

    Raises:
        SpecError: it follows no protocol of a task.
    """
    name = str(Path(path).expanduser().absolute())
    if isinstance(task, type):
        raise SpecError(
            f"{path}: expected TASK to be a task, got the class {task.__name__}; write "
            f"TASK = {task.__name__}()"
        )
    lacking = [each for each in _PROTOCOL if not _has(task, each)]
    if lacking:
        raise SpecError(
            f"{path}: expected TASK to be the name of a task ({', '.join(names())}) or to follow "
            f"tally.tasks.task.Task, got {type(task).__name__} without {', '.join(lacking)}; "
            "give a name, or define these"
        )
    if not isinstance(task.headline, Headline) or task.headline.name not in task.reported:
        raise SpecError(
            f"{path}: expected TASK to have a tally.tasks.task.Headline among what is reported, "
            f"got {task.headline!r:.60}; correct headline, or reported"
        )
    _own[name] = task
    return name


_own: dict[str, Task] = {}
_PROTOCOL = (
    *Task.__annotations__,
    *(name for name, each in vars(Task).items() if callable(each) and not name.startswith("_")),
)


def _has(task: Any, name: str) -> bool:
    """Whether a task has it, and not the protocol's own empty one."""
    return inspect.getattr_static(task, name, None) not in (None, vars(Task).get(name))


def keep_evaluation(name: str, measures: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation keeps of a task of a user's, for tally.tasks.reading."""
    return kept.evaluation(named(name), measures) if userfile.is_user_file(name) else {}


def keep_row(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """As keep_evaluation, of a candidate's row."""
    return kept.row(named(name), row) if userfile.is_user_file(name) else {}


def keep_words(name: str) -> dict[str, Any]:
    """What a run keeps; {} of a packaged task, whose words are here."""
    return kept.words(named(name)) if userfile.is_user_file(name) else {}
