"""Counts by row and column laid out to stay readable from 2 names to thousands. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tally.reports import words
from tally.tasks.sections import Grid

NUMBERED = 24  # names up to which a cell holds its count and every row its name
CELLS = 100  # cells a side at most: beyond, neighbours share a cell
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
    """A name on both axes: the middle of its row (and column)."""

    at: float
    label: str


@dataclass(frozen=True)
class Pair:
    """A cell beside the diagonal: its row and column, its count, and that as a share of the row."""

    row: str
    column: str
    count: int
    share: float


@dataclass(frozen=True)
class Matrix:
    """What the template draws of a grid; `bundle` names share a row where there are too many."""

    grid: Grid
    cells: tuple[Cell, ...]
    names: tuple[Name, ...]
    size: float
    side: float
    margin: float
    numbered: bool
    upright: bool
    bundle: int
    pairs: tuple[Pair, ...]
    description: str


def lay_out(grid: Grid) -> Matrix | None:
    """The matrix of a grid; None where it counts nothing."""
    names, counts = grid.names, grid.counts
    total = sum(map(sum, counts))
    if total == 0:
        return None
    classes = len(names)
    bundle = math.ceil(classes / CELLS)
    rows = _bundled(counts, bundle)
    numbered = classes <= NUMBERED
    size = float(CELL) if numbered else SIDE / len(rows)
    right = sum(counts[k][k] for k in range(classes))
    pairs = _pairs(counts, names)
    worst = f"; most often {pairs[0].row} taken for {pairs[0].column}" if pairs else ""
    told = grid.total.format(right=words.count(right), all=words.count(total), names=classes)
    return Matrix(
        grid=grid,
        cells=tuple(_cells(rows, _groups(names, bundle), size, numbered)),
        names=tuple(_names(names, bundle, size, numbered)),
        size=size,
        side=size * len(rows),
        margin=12.0 + 6.6 * max(len(words.clip(name, 14)) for name in names),
        numbered=numbered,
        upright=max(map(len, names)) <= 3,
        bundle=bundle,
        pairs=tuple(pairs[:8]),
        description=f"{told}{worst}; {grid.note}.",
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
    """Every name where there is room, else about sixteen of them, evenly apart."""
    every = 1 if numbered else max(1, math.ceil(len(names) / bundle / 16))
    return [
        Name(round((k + 0.5) * size, 2), words.clip(name, 14))
        for k, name in enumerate(names[::bundle])
        if k % every == 0
    ]


def _pairs(counts: Sequence[Sequence[int]], names: Sequence[str]) -> list[Pair]:
    """By how often, most first; ties in the order of the names."""
    found = [
        Pair(names[true], names[predicted], number, number / sum(row))
        for true, row in enumerate(counts)
        for predicted, number in enumerate(row)
        if number and true != predicted
    ]
    return sorted(found, key=lambda pair: -pair.count)
