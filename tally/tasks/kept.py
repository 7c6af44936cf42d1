"""What readers need of a task, as plain data: a task of a user's own is not run to be read of."""

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from tally.oneline import one_line
from tally.tasks.sections import Fact, Section
from tally.tasks.task import Column, Headline, Kind, Task

LONGEST = 200
"""Characters of a word."""


@dataclass(frozen=True)
class Words:
    """How measures and figures are read, without the task that has them: as Task says."""

    headline: Headline
    reported: Mapping[str, Kind]
    columns: Mapping[str, Column]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Those that `words` made, perhaps elsewhere: each in one plain line.

        Raises:
            ValueError: it is something else.
        """
        found: Self = _read(cls, _plain(document))
        return found

    def kind(self, measure: str) -> Kind:
        """How one is read; another's is a number, the less the better."""
        return self.reported.get(measure, Kind())


class Told(Protocol):
    """What a report shows of an evaluation, in its task's words: as Task says."""

    headline: Headline

    def sentence(self, measures: Mapping[str, Any]) -> str:
        """The measures in a sentence."""

    def facts(self, measures: Mapping[str, Any]) -> tuple[Fact, ...]:
        """Those that are shown first."""

    def candidate(self, row: Mapping[str, Any]) -> tuple[Fact, ...]:
        """A candidate's."""

    def sections(self, measures: Mapping[str, Any]) -> tuple[Section, ...]:
        """The rest."""


class Kept:
    """Told of what an evaluation has kept."""

    def __init__(self, evaluation: Mapping[str, Any]) -> None:
        self.headline = Words.of(evaluation["words"]).headline

    def sentence(self, measures: Mapping[str, Any]) -> str:
        """As it was."""
        return str(measures["shown"]["sentence"])

    def facts(self, measures: Mapping[str, Any]) -> tuple[Fact, ...]:
        """As they were."""
        return _read(tuple[Fact, ...], measures["shown"]["facts"])  # type: ignore[no-any-return]

    def candidate(self, row: Mapping[str, Any]) -> tuple[Fact, ...]:
        """As they were."""
        return _read(tuple[Fact, ...], row["shown"])  # type: ignore[no-any-return]

    def sections(self, measures: Mapping[str, Any]) -> tuple[Section, ...]:
        """As they were."""
        found = measures["shown"]["sections"]
        return _read(tuple[Section, ...], found)  # type: ignore[no-any-return]


def words(task: Task) -> dict[str, Any]:
    """What Words are read of, as JSON's types."""
    return asdict(Words(task.headline, dict(task.reported), dict(task.columns)))


def evaluation(task: Task, measures: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation keeps beside its measures."""
    return {
        "words": words(task),
        "shown": {
            "sentence": task.sentence(measures),
            "facts": [asdict(fact) for fact in task.facts(measures)],
            "sections": [asdict(section) for section in task.sections(measures)],
        },
    }


def row(task: Task, measures: Mapping[str, Any]) -> dict[str, Any]:
    """What a candidate's row keeps beside its measures."""
    found = [asdict(fact) for fact in task.candidate(measures)]
    return {"words": words(task), "shown": found}


def _plain(found: Any) -> Any:
    if isinstance(found, str):
        return one_line(found, LONGEST)
    if isinstance(found, Mapping):
        return {name: _plain(each) for name, each in found.items()}
    return found


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _read(kind: Any, document: Any) -> Any:
    return _adapter(kind).validate_python(document)
