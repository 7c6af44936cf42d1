"""The confusion matrix laid out to stay readable from 2 classes to thousands. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tally.reports import words

NUMBERED = 24  # classes up to which a cell holds its count and every class its name
CELLS = 100  # cells a side at most: beyond, neighbouring classes share a cell
CELL = 28  # view box units of a numbered cell
SIDE = 560  # view box units of a matrix without numbers


@dataclass(frozen=True)
class Cell:
    """One filled square: top left corner, shade 0..1, what it holds."""

    x: float
    y: float
    shade: float
    right: bool
    label: str
    title: str


@dataclass(frozen=True)
class Name:
    """A class on both axes: the middle of its row (and column)."""

    at: float
    label: str


@dataclass(frozen=True)
class Mistake:
    """Two classes that were confused: how often, and as a share of the true class."""

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Matrix:
    """What the template draws; `bundle` classes share a row where there are too many."""

    cells: tuple[Cell, ...]
    names: tuple[Name, ...]
    size: float
    side: float
    margin: float
    numbered: bool
    upright: bool
    bundle: int
    mistakes: tuple[Mistake, ...]
    description: str


def lay_out(evaluation: Mapping[str, Any]) -> Matrix | None:
    """The matrix of an evaluation; None where it has none or counts nothing."""
    names = [str(name) for name in evaluation.get("class_names", ())]
    counts = evaluation.get("confusion") or []
    total = sum(map(sum, counts))
    if not names or len(counts) != len(names) or total == 0:
        return None
    classes = len(names)
    bundle = math.ceil(classes / CELLS)
    rows = _bundled(counts, bundle)
    numbered = classes <= NUMBERED
    size = float(CELL) if numbered else SIDE / len(rows)
    right = sum(counts[k][k] for k in range(classes))
    mistakes = _mistakes(counts, names)
    worst = f"; most often {mistakes[0].true} taken for {mistakes[0].predicted}" if mistakes else ""
    return Matrix(
        cells=tuple(_cells(rows, _groups(names, bundle), size, numbered)),
        names=tuple(_names(names, bundle, size, numbered)),
        size=size,
        side=size * len(rows),
        margin=12.0 + 6.6 * max(len(words.clip(name, 14)) for name in names),
        numbered=numbered,
        upright=max(map(len, names)) <= 3,
        bundle=bundle,
        mistakes=tuple(mistakes[:8]),
        description=f"{words.count(right)} of {words.count(total)} test examples right in "
        f"{classes} classes{worst}. Rows are true classes, columns predicted ones.",
    )


def _bundled(counts: Sequence[Sequence[int]], bundle: int) -> list[list[int]]:
    if bundle == 1:
        return [list(row) for row in counts]
    groups = math.ceil(len(counts) / bundle)
    sums = [[0] * groups for _ in range(groups)]
    for true, row in enumerate(counts):
        for predicted, number in enumerate(row):
            if number:
                sums[true // bundle][predicted // bundle] += number
    return sums


def _groups(names: Sequence[str], bundle: int) -> list[str]:
    starts = range(0, len(names), bundle)
    return [
        names[k] if bundle == 1 else f"{names[k]} … {names[min(k + bundle, len(names)) - 1]}"
        for k in starts
    ]


def _cells(
    rows: Sequence[Sequence[int]], names: Sequence[str], size: float, numbered: bool
) -> list[Cell]:
    cells = []
    for true, row in enumerate(rows):
        support = sum(row)
        for predicted, number in enumerate(row):
            if not number:
                continue
            share = number / support
            right = true == predicted
            cells.append(
                Cell(
                    x=round(predicted * size, 2),
                    y=round(true * size, 2),
                    # A single mistake among hundreds must still be seen: mistakes by their root.
                    shade=round(0.12 + 0.88 * (share if right else math.sqrt(share)), 3),
                    right=right,
                    label=words.short(number) if numbered else "",
                    title=f"{names[true]} → {names[predicted]}: {words.count(number)} "
                    f"({words.percent(share)} of {names[true]})",
                )
            )
    return cells


def _names(names: Sequence[str], bundle: int, size: float, numbered: bool) -> list[Name]:
    """Every class where there is room, else about sixteen of them, evenly apart."""
    every = 1 if numbered else max(1, math.ceil(len(names) / bundle / 16))
    return [
        Name(round((k + 0.5) * size, 2), words.clip(name, 14))
        for k, name in enumerate(names[::bundle])
        if k % every == 0
    ]


def _mistakes(counts: Sequence[Sequence[int]], names: Sequence[str]) -> list[Mistake]:
    """Pairs by how often, most first; ties in the order of the classes."""
    found = [
        Mistake(names[true], names[predicted], number, number / sum(row))
        for true, row in enumerate(counts)
        for predicted, number in enumerate(row)
        if number and true != predicted
    ]
    return sorted(found, key=lambda mistake: -mistake.count)
