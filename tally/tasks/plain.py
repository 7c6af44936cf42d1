"""What most tasks have in common: a task of a user's own begins with it, and says the rest."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Self

from tally.errors import DataError
from tally.tasks.sections import Fact, Form, Section, Shown
from tally.tasks.task import Array, Batch, Column, Facts, Headline, Kind, Measure, Paired, Tensor

RESAMPLES = 2_000
SCHEMA = 2


class Plain(ABC):
    """A task whose headline is a sum over examples divided by their weights; see `scores`.

    It is left to say `headline`, `target`, `head`, `loss` and `scores`, of Task and of this.
    """

    totals: tuple[str, ...] = ()
    columns: Mapping[str, Column] = {}
    headline: Headline
    nearly = 0.005
    invariant = False

    @property
    def name(self) -> str:
        """Of its class."""
        return type(self).__name__

    @property
    def reported(self) -> Mapping[str, Kind]:
        """The headline."""
        one = self.headline
        return {one.name: Kind(share=one.share, higher_is_better=one.higher_is_better)}

    def prepare(self, targets: Iterable[Any], where: str) -> Facts:
        """Nothing."""
        return {}

    def check(self, target: Any, facts: Facts, where: str) -> None:
        """All are fine."""
        return

    def stratify(self, target: Any) -> None:
        """Of one kind."""
        return

    def strata(self, facts: Facts) -> tuple[str, ...]:
        """None."""
        return ()

    def sums(self, batch: Batch, outputs: Tensor, facts: Facts) -> tuple[Tensor, ...]:
        """None."""
        return ()

    def figures(self, totals: Mapping[str, float], examples: int) -> dict[str, float]:
        """None."""
        return {}

    def decode(self, outputs: Array, facts: Facts) -> Array:
        """The outputs themselves."""
        return outputs

    def sure(self, answers: Array, facts: Facts) -> Array:
        """As they are."""
        return answers

    @abstractmethod
    def scores(self, target: Any, answers: Array, facts: Facts) -> Array:
        """How good each answer is, float (n, 2): what the headline is a sum of, and its weight.

        Args:
            target: of some examples, as a batch has it.
            answers: (n, …), from `decode`.
            facts: of the dataset.
        """

    def further(self, records: Array) -> dict[str, Any]:
        """Measures beside the headline, as JSON, for `sections`; `records` are (n, 2), `scores`."""
        return {}

    def measure(self, facts: Facts) -> Measure:
        """The headline with its interval, and `further`."""
        return Scored(self, facts)

    def value(self, records: Array) -> float:
        """The sum over the weights, 0 where there are none."""
        total, weight = records.sum(axis=0).tolist()
        return total / weight if weight else 0.0

    def paired(self, records: Array, others: Array) -> Paired:
        """By resampling the examples: how they differ, how often the first is no better."""
        import numpy as np

        random, n = np.random.default_rng(0), len(records)
        apart = np.empty(RESAMPLES)
        for k in range(RESAMPLES):
            rows = random.integers(0, n, n)
            apart[k] = self.value(records[rows]) - self.value(others[rows])
        low, high = np.percentile(apart, [2.5, 97.5])
        no_better = (apart if self.headline.higher_is_better else -apart) <= 0
        p_value = (1 + int(no_better.sum())) / (1 + RESAMPLES)
        return Paired(self.value(records) - self.value(others), (float(low), float(high)), p_value)

    def row(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        """The headline with its interval."""
        name = self.headline.name
        return {name: measures[name], self.headline.interval: measures["intervals"][name]}

    def sentence(self, measures: Mapping[str, Any]) -> str:
        """The headline."""
        told = self.headline.told(measures[self.headline.name])
        return f"{told} on {measures['count']:,} test examples."

    def facts(self, measures: Mapping[str, Any]) -> tuple[Fact, ...]:
        """The headline with its interval."""
        name = self.headline.name
        low, high = measures["intervals"][name]
        found = (
            Shown(name, measures[name], self._form),
            Shown(f"intervals.{name}.0", low, self._form),
            Shown(f"intervals.{name}.1", high, self._form),
        )
        return (Fact(self.headline.title, found),)

    def candidate(self, row: Mapping[str, Any]) -> tuple[Fact, ...]:
        """The headline with its interval."""
        name, interval = self.headline.name, self.headline.interval
        ends = (
            Shown(f"{interval}.0", row[interval][0], self._form),
            Shown(f"{interval}.1", row[interval][1], self._form),
        )
        return (
            Fact(self.headline.title, (Shown(name, row[name], self._form),)),
            Fact("95 %", ends),
        )

    def sections(self, measures: Mapping[str, Any]) -> tuple[Section, ...]:
        """None."""
        return ()

    def chart(self, measures: Mapping[str, Any], artifact: Any) -> None:
        """Nothing."""
        return

    @property
    def _form(self) -> Form:
        return "fine share" if self.headline.share else "four figures"


class Scored:
    """The scores of examples so far."""

    def __init__(self, task: Plain, facts: Facts) -> None:
        self._task, self._facts = task, facts
        self._parts: list[Array] = []

    def add(self, target: Any, answers: Array) -> None:
        """As tally.tasks.task.Measure."""
        import numpy as np

        self._parts.append(np.asarray(self._task.scores(target, answers, self._facts), float))

    def merge(self, other: Self) -> None:
        """As tally.tasks.task.Measure."""
        self._parts += other._parts

    @property
    def records(self) -> Array:
        """(n, 2), as `scores`."""
        import numpy as np

        return np.concatenate(self._parts) if self._parts else np.empty((0, 2))

    def result(self) -> dict[str, Any]:
        """The headline, `count`, its interval of 95 % (2,000 resamples), and what is `further`.

        Raises:
            DataError: no examples, or scores that are no numbers.
        """
        import numpy as np

        records, task = self.records, self._task
        if not len(records) or not np.isfinite(records).all():
            raise DataError(
                "evaluation: expected finite scores for one test example or more, got "
                f"{'nan or infinity' if len(records) else 'none'}; check the model's output layer"
            )
        random, n, name = np.random.default_rng(0), len(records), task.headline.name
        drawn = [task.value(records[random.integers(0, n, n)]) for _ in range(RESAMPLES)]
        return {
            "schema": SCHEMA,
            name: task.value(records),
            "count": n,
            "intervals": {name: np.percentile(drawn, [2.5, 97.5]).tolist()},
            **task.further(records),
        }
