"""A CSV file with a label column, and either a text column or columns of numbers."""

import csv
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tally.data.content import Array, Chunk, Content, Meta, SplitName
from tally.data.levels import VALIDATION, Levels, by_split, chosen, split_named
from tally.data.reading import gathered, reading, require_utf8, rows_a_chunk
from tally.data.split import held_out_of
from tally.data.text import Row, text_content
from tally.errors import DataError
from tally.spec import Spec
from tally.tasks import registry

VERSION = 1
OPTIONS = ("sequence_length",)
LAYOUT = (
    "a .csv (or train.csv and test.csv in a folder) with a column label and a column text, or "
    "columns of numbers"
)
_SPLITS: tuple[SplitName, ...] = ("train", "test")


def recognises(path: Path) -> bool:
    """A file that ends in .csv, or a folder with one that is named like a split."""
    if path.is_dir():
        return any(split_named(file.stem) for file in _tables(path))
    return path.suffix.lower() == ".csv" and path.is_file()


def _tables(folder: Path) -> list[Path]:
    here = (entry for entry in sorted(folder.iterdir()) if entry.name[0] != ".")
    return [file for file in here if file.suffix.lower() == ".csv" and file.is_file()]


def load(path: Path, spec: Spec) -> Content:
    """Texts as characters, or each row's numbers in order as a series (columns, 1) of float32.

    A column `split`, or the names of a folder's files, say which row is for which split; else one
    in five is held out, stratified. At most sequence_length characters or columns are kept.

    Raises:
        DataError: no label column, no examples, a row of another length, not a number, files with
            other columns.
    """
    found = _files(path)
    files = list(found.given.values()) or [found.root]
    names = _columns(files)
    labels, classes = _labels(files, names)
    splits, found = _splits(found, files, names, labels)

    def rows() -> Iterator[tuple[SplitName, int, Path, int, list[str]]]:
        every = zip(_rows_of(files), labels, splits, strict=True)
        for (file, line, row), label, place in every:
            if place < len(_SPLITS):
                yield _SPLITS[place], label, file, line, row

    if "text" in names:
        column = names.index("text")

        def texts() -> Iterator[Row]:
            for split, label, _, _, row in rows():
                yield split, label, row[column]

        return found.told(text_content(path.stem, classes, texts, spec.sequence_length))

    columns = [k for k, name in enumerate(names) if name not in ("label", "split")]
    columns = columns[: spec.sequence_length]
    if not columns:
        raise DataError(
            f"{path}: expected a column text or columns of numbers beside label, got none; add some"
        )
    meta = Meta(path.stem, "sequence", (len(columns), 1), "float32", 1.0, classes)

    def series() -> Iterator[tuple[SplitName, int, list[float]]]:
        for split, label, file, line, row in rows():
            yield split, label, _numbers(file, line, [row[k] for k in columns])

    def chunks() -> Iterator[Chunk]:
        return gathered(series(), rows_a_chunk(64 * len(columns)), _as_series)

    return found.told(Content(meta, chunks, sum(place < len(_SPLITS) for place in splits)))


def _files(path: Path) -> Levels:
    """The file, or a folder's by their splits; other tables there are left out."""
    if path.is_file():
        return Levels(path)
    tables = _tables(path)
    found = chosen(path, by_split(path, tables))
    others = sum(not split_named(file.stem) for file in tables)
    beside = {"tables that are not named like a split": others} if others else {}
    return replace(found, left_out={**found.left_out, **beside})


def _as_series(rows: list[list[float]]) -> Array:
    return np.array(rows, np.float32)[..., np.newaxis]


def _numbers(path: Path, line: int, values: list[str]) -> list[float]:
    with reading(path, f"numbers in line {line}", "correct the line"):
        return [float(value) for value in values]


def _columns(files: list[Path]) -> list[str]:
    """The columns' names, which all files have in common."""
    first, *others = files
    names = _header(first)
    for file in others:
        if (found := _header(file)) != names:
            raise DataError(
                f"{file}: expected the columns of {first.name} ({','.join(names)[:60]}), got "
                f"{','.join(found)[:60]}; bring the files to the same columns"
            )
    return names


def _header(path: Path) -> list[str]:
    with (
        reading(path, LAYOUT),
        open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file,
    ):
        names = [name.strip() for name in next(csv.reader(file), [])]
    require_utf8(path, 1, "".join(names))
    if "label" not in names:
        raise DataError(
            f"{path}: expected a first line that names the columns, one of them label, got "
            f"'{','.join(names)[:60]}'; name the column of the classes label"
        )
    return names


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every row after the header; empty lines are none."""
    with (
        reading(path, "rows of comma-separated values in UTF-8"),
        open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file,
    ):
        reader = csv.reader(file)
        width = len(next(reader, []))
        for row in reader:
            require_utf8(path, reader.line_num, "".join(row))
            if row and len(row) != width:
                raise DataError(
                    f"{path}: expected {width} columns in line {reader.line_num}, got {len(row)}; "
                    "correct the line"
                )
            if row:
                yield reader.line_num, row


def _rows_of(files: list[Path]) -> Iterator[tuple[Path, int, list[str]]]:
    for file in files:
        for line, row in _rows(file):
            yield file, line, row


def _labels(files: list[Path], names: list[str]) -> tuple["array[int]", tuple[str, ...]]:
    """A label a row, and the classes' names in order (of numbers, if all are)."""
    column = names.index("label")
    seen: dict[str, int] = {}
    found = array(
        "i", (seen.setdefault(row[column].strip(), len(seen)) for *_, row in _rows_of(files))
    )
    if not found:
        raise DataError(f"{files[0]}: expected rows below the column names, got none; add examples")
    if "" in seen:
        raise DataError(f"{files[0]}: expected a label in every row, got an empty one; fill it in")
    try:
        classes = sorted(seen, key=float)
    except ValueError:
        classes = sorted(seen)
    place = {seen[name]: k for k, name in enumerate(classes)}
    return array("i", (place[label] for label in found)), tuple(classes)


def _splits(
    found: Levels, files: list[Path], names: list[str], labels: "array[int]"
) -> tuple["array[int]", Levels]:
    """The place in _SPLITS of each row, one beyond them of what is left out; and what that is."""
    if found.given:
        counts = [sum(1 for _ in _rows(file)) for file in files]
        return array("b", np.repeat(range(len(files)), counts).tolist()), found
    if "split" not in names:
        task = registry.named(registry.USUAL)
        return array("b", held_out_of(task, np.asarray(labels), len(labels)).tolist()), found
    column = names.index("split")
    places = array("b")
    for file, line, row in _rows_of(files):
        if not (split := split_named(row[column])):
            raise DataError(
                f"{file}: expected train, test or val in the column split, got '{row[column]}' in "
                f"line {line}; correct the line, or rename the column"
            )
        places.append((*_SPLITS, VALIDATION).index(split))
    validation = places.count(len(_SPLITS))
    if validation and 1 not in places:
        said = f"{validation:,} rows of the validation split are tested on: there is no test split"
        return array("b", (min(place, 1) for place in places)), replace(found, said=(said,))
    left_out = {"rows of the validation split": validation} if validation else {}
    return places, replace(found, left_out={**found.left_out, **left_out})
