"""The protocol of a task, and the words that it is told in."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from tally.tasks.sections import Fact, Section

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]
else:
    Array = Any  # the meter's image, which reads headlines, has no numpy
Tensor = Any
Facts = Mapping[str, Any]
"""What `prepare` learnt of the training targets, as JSON: kept with the dataset."""


@dataclass(frozen=True)
class Batch:
    """Rows of a step, as its loss sees them.

    Attributes:
        x: (n, …) as the model takes it.
        target: what is to be answered: one array (n, …), or several by name, as
            tally.tasks.targets.batched says.
    """

    x: Tensor
    target: Any


@dataclass(frozen=True)
class Target:
    """One array of what is to be answered.

    Attributes:
        dtype: numpy name.
        shape: of an example's; of each of its rows where it is ragged.
        ragged: whether an example has any number of rows; see tally.tasks.targets.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    ragged: bool = False


@dataclass(frozen=True)
class Head:
    """A packaged model's end: a dense layer.

    Attributes:
        units: of it.
        activation: of it.
        shape: that the units are brought to for an answer, (length, tags); () leaves them.
    """

    units: int
    activation: str
    shape: tuple[int, ...] = ()

    @property
    def answer(self) -> tuple[int, ...]:
        """The shape of a model's output for an example."""
        return tuple(self.shape) or (self.units,)


Loss = Callable[[Batch, Tensor], tuple[Tensor, Tensor | None]]
"""(batch, outputs as the head's, or a compiled model's own) → loss by example (n,), and its weight
(n,): what the sum is divided by the sum of. None: 1 each."""


@dataclass(frozen=True)
class Kind:
    """How a measure is read: as a share of 1 or as it is; and its direction."""

    share: bool = False
    higher_is_better: bool = False


@dataclass(frozen=True)
class Column:
    """A figure of progress: its curve's title, whether it is a share of 1, its best value."""

    title: str
    share: bool
    best: float


@dataclass(frozen=True)
class Headline:
    """The one measure that a model is known by.

    Attributes:
        name: in evaluation.json, events, the ledger and the meter's API.
        title: for people; `axis` on one.
        share: whether it is a share of 1, shown in percent; else a number, shown as it is.
        higher_is_better: its direction.
        interval: its name among a candidate's figures.
        usd: the name of the bill's total over it, in hundredths where it is a share; "" for none.
        point: what that is the price of, for people; `short` where there is little room.
        word: what a share of the examples is; "" where its title says it.
    """

    name: str
    title: str
    axis: str
    share: bool
    higher_is_better: bool
    interval: str
    usd: str = ""
    point: str = ""
    short: str = ""
    word: str = ""

    def told(self, value: float) -> str:
        """`99.44% right`, `R² 0.48`."""
        if self.share:
            return f"{self.plain(value)} {self.word or self.title}"
        return f"{self.title} {self.plain(value)}"

    def plain(self, value: float) -> str:
        """The value alone: `99.44%`, `0.48`."""
        return f"{value:.2%}" if self.share else f"{value:.4g}"

    def apart(self, difference: float) -> str:
        """A difference of two values: `+0.12 points`, `+0.03`."""
        return f"{100 * difference:+.2f} points" if self.share else f"{difference:+.4g}"

    def better(self, value: float) -> float:
        """The more the better, whatever the measure's direction."""
        return value if self.higher_is_better else -value


@dataclass(frozen=True)
class Paired:
    """One model's answers less another's, to the same examples.

    Attributes:
        difference: of the headline, the first's less the second's.
        interval: 95 % of that difference.
        p_value: how often a first that is no better does as well: one-sided.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float


class Measure(Protocol):
    """What answers to a split add up to, batch by batch."""

    def add(self, target: Any, answers: Array) -> None:
        """Some examples' targets, and what `decode` made of the outputs for them."""

    def merge(self, other: Self) -> None:
        """Examples that another has measured, after one's own."""

    def result(self) -> dict[str, Any]:
        """The measures as JSON: the headline, `reported`, `count`, `intervals` of 95 % by name.

        Raises:
            DataError: no examples, or answers that are none.
        """

    @property
    def records(self) -> Array:
        """How good the answer to each example is (n, …): what `paired` and `value` take."""


class Task(Protocol):
    """What is learned.

    Attributes:
        name: of its file.
        totals: names of sums over a step's examples that `sums` computes: they stand in positions.
        columns: the figures, by name.
        headline: what its models are known by.
        reported: the measures that runs are listed with, and how they are read.
        nearly: how much of the headline a smaller candidate may lack beside the best.
        invariant: whether a target stays true when its picture is rotated and shifted a little.
    """

    name: str
    totals: tuple[str, ...]
    columns: Mapping[str, Column]
    headline: Headline
    reported: Mapping[str, Kind]
    nearly: float
    invariant: bool

    def prepare(self, targets: Iterable[Any], where: str) -> Facts:
        """What is kept of a source's training targets, with the dataset.

        Args:
            targets: part by part, each of some examples; to be read once.
            where: the first words of an error.

        Raises:
            DataError: nothing can be learnt of them.
        """

    def check(self, target: Any, facts: Facts, where: str) -> None:
        """Refuse what is no target of the dataset; types and shapes are as `target` says.

        Args:
            target: of some examples of a split.
            facts: of the dataset.
            where: the first words of an error.

        Raises:
            DataError: it is none.
        """

    def stratify(self, target: Any) -> Array | None:
        """What some examples are of, so that a split keeps its shares: int (n,) of `strata`.

        None where they are all of one kind.
        """

    def strata(self, facts: Facts) -> tuple[str, ...]:
        """What `stratify` numbers: none may be without training examples; () where it is None."""

    def target(self, facts: Facts) -> Target | Mapping[str, Target]:
        """What an example's target is: one array, or several by name."""

    def head(self, facts: Facts) -> Head:
        """The end of a packaged model."""

    def loss(self, facts: Facts, compiled: Any) -> Loss:
        """The loss by example.

        Args:
            facts: of the dataset.
            compiled: what a compiled model of the user's has; None where the task says it.
        """

    def sums(self, batch: Batch, outputs: Tensor, facts: Facts) -> tuple[Tensor, ...]:
        """A scalar for each of `totals`, while tracing."""

    def figures(self, totals: Mapping[str, float], examples: int) -> dict[str, float]:
        """The columns of progress beside the loss.

        Args:
            totals: sums over some examples, by name.
            examples: how many, 1 or more.
        """

    def decode(self, outputs: Array, facts: Facts) -> Array:
        """What a model's outputs (n, …) say: the answers that are measured."""

    def sure(self, answers: Array, facts: Facts) -> Array:
        """As `decode`, of a plain method's answers (n,)."""

    def measure(self, facts: Facts) -> Measure:
        """Of a split of which nothing was measured yet."""

    def value(self, records: Array) -> float:
        """The headline of some examples."""

    def paired(self, records: Array, others: Array) -> Paired:
        """One model beside another on the same examples."""

    def row(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        """What a candidate's row of evaluation.json has of its measures."""

    def sentence(self, measures: Mapping[str, Any]) -> str:
        """The measures in a sentence."""

    def facts(self, measures: Mapping[str, Any]) -> tuple[Fact, ...]:
        """Those that a report shows first."""

    def candidate(self, row: Mapping[str, Any]) -> tuple[Fact, ...]:
        """What `row` has, by the titles of its columns."""

    def sections(self, measures: Mapping[str, Any]) -> tuple[Section, ...]:
        """The rest of what a report shows; of an older evaluation what it has."""

    def chart(self, measures: Mapping[str, Any], artifact: Any) -> None:
        """Draw what Kubeflow's ClassificationMetrics can show of them; nothing is fine."""
