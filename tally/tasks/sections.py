"""What a report shows of a task's measures, as plain data: whoever draws it knows no task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Form = Literal["share", "fine share", "four places", "four figures", "count"]
"""How a figure is written: 98.6 %, 98.61 %, 0.0123, 12.34, 1,234."""


@dataclass(frozen=True)
class Shown:
    """A figure of evaluation.json: where it stands there, its value, and how it is written."""

    key: str
    value: Any
    form: Form


@dataclass(frozen=True)
class Fact:
    """A figure by its name; with a 95 % interval where there are three."""

    title: str
    numbers: tuple[Shown, ...]


@dataclass(frozen=True)
class Series:
    """A line through points (x, y), and what it is."""

    points: Sequence[tuple[float, float]]
    told: str
    guide: bool = False


@dataclass(frozen=True)
class Mark:
    """A point, and what it is."""

    x: float
    y: float
    told: str


@dataclass(frozen=True)
class Chart:
    """Lines and points; both axes from 0 to 1 where `unit`, else as far as they go."""

    key: str
    title: str
    description: str
    x_label: str
    series: tuple[Series, ...] = ()
    marks: tuple[Mark, ...] = ()
    unit: bool = False


@dataclass(frozen=True)
class Grid:
    """Counts by row and column of the same names; the diagonal is right.

    Attributes:
        note: what rows and columns are.
        pairs: what a cell beside the diagonal is, as a caption; `heads` of its columns: of the
            row, the column, the count, and its share of the row.
        none: what is said where all is on the diagonal.
        total: what is said of right, of all and of how many names.
    """

    title: str
    note: str
    names: tuple[str, ...]
    counts: Sequence[Sequence[int]]
    pairs: str
    heads: tuple[str, str, str, str]
    none: str
    total: str


@dataclass(frozen=True)
class Table:
    """Rows of a name and figures; of many the weakest in column `weakest` are shown first."""

    title: str
    heads: tuple[str, ...]
    forms: tuple[Form, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    weakest: int
    many: str

    @property
    def weakest_first(self) -> list[tuple[str, tuple[float, ...]]]:
        """The rows by that column."""
        return sorted(self.rows, key=lambda row: row[1][self.weakest])


Section = Chart | Grid | Table


def percent(share: float, decimals: int = 1) -> str:
    """`98.6 %` of a share in 0..1; never rounded up to 100 % or down to 0 %."""
    text = f"{100 * share:.{decimals}f}"
    if share < 1 and float(text) >= 100:
        return f"> {100 - 10**-decimals:.{decimals}f} %"
    if share > 0 and float(text) == 0:
        return f"< {10**-decimals:.{decimals}f} %"
    return f"{text} %"
