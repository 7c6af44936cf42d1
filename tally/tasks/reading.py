"""How measures are read, by what was kept beside them: nobody runs a file of a user's to read.

Pure.
"""

from collections.abc import Container, Mapping
from typing import Any

from tally.tasks.kept import Kept, Told, Words
from tally.tasks.packaged import USUAL, named, names


def of(evaluation: Mapping[str, Any]) -> Told:
    """What an evaluation's task says of it."""
    if "words" in evaluation:
        return Kept(evaluation)
    return named(str(evaluation.get("task", USUAL)))


def words(found: Mapping[str, Any], measures: Container[str]) -> Words:
    """How measures are read.

    Args:
        found: what was kept with them, as tally.tasks.registry does; {} of a packaged task.
        measures: their names; those of a packaged task say whose they are.
    """
    if found:
        return Words.of(found)
    packaged = [named(name) for name in names()]
    headline = next((one.headline for one in packaged if one.headline.name in measures), None)
    return Words(
        headline or named(USUAL).headline,
        {name: kind for one in packaged for name, kind in one.reported.items()},
        {name: column for one in packaged for name, column in one.columns.items()},
    )
