"""A CSV file with a label column, and either a text column or columns of numbers."""

import csv
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tally.data.content import Array, Chunk, Content, Meta, SplitName
from tally.data.reading import gathered, reading, require_utf8, rows_a_chunk
from tally.data.split import held_out_of
from tally.data.text import Row, text_content
from tally.errors import DataError
from tally.spec import Spec
from tally.tasks import registry

VERSION = 1
OPTIONS = ("sequence_length",)
LAYOUT = "a .csv with a column label and a column text, or columns of numbers"


def recognises(path: Path) -> bool:
    """A file that ends in .csv."""
    return path.suffix == ".csv" and path.is_file()


def load(path: Path, spec: Spec) -> Content:
    """Texts as characters, or each row's numbers in order as a series (columns, 1) of float32.

    A column `split` of train and test says which is which; without it one row in five is held out,
    stratified. At most sequence_length characters or columns are kept.

    Raises:
        DataError: no label column, no examples, a row of another length, not a number.
    """
    names = _header(path)
    labels, classes = _labels(path, names)
    test = _held_out(path, names, labels)

    def rows() -> Iterator[tuple[SplitName, int, int, list[str]]]:
        for (line, row), label, out in zip(_rows(path), labels, test.tolist(), strict=True):
            yield ("test" if out else "train"), label, line, row

    if "text" in names:
        column = names.index("text")

        def texts() -> Iterator[Row]:
            for split, label, _, row in rows():
                yield split, label, row[column]

        return text_content(path.stem, classes, texts, spec.sequence_length)

    columns = [k for k, name in enumerate(names) if name not in ("label", "split")]
    columns = columns[: spec.sequence_length]
    if not columns:
        raise DataError(
            f"{path}: expected a column text or columns of numbers beside label, got none; add some"
        )
    meta = Meta(path.stem, "sequence", (len(columns), 1), "float32", 1.0, classes)

    def series() -> Iterator[tuple[SplitName, int, list[float]]]:
        for split, label, line, row in rows():
            yield split, label, _numbers(path, line, [row[k] for k in columns])

    def chunks() -> Iterator[Chunk]:
        return gathered(series(), rows_a_chunk(64 * len(columns)), _as_series)

    return Content(meta, chunks, len(labels))


def _as_series(rows: list[list[float]]) -> Array:
    return np.array(rows, np.float32)[..., np.newaxis]


def _numbers(path: Path, line: int, values: list[str]) -> list[float]:
    with reading(path, f"numbers in line {line}", "correct the line"):
        return [float(value) for value in values]


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


def _labels(path: Path, names: list[str]) -> tuple["array[int]", tuple[str, ...]]:
    """A label a row, and the classes' names in order (of numbers, if all are)."""
    column = names.index("label")
    seen: dict[str, int] = {}
    found = array("i", (seen.setdefault(row[column].strip(), len(seen)) for _, row in _rows(path)))
    if not found:
        raise DataError(f"{path}: expected rows below the column names, got none; add examples")
    if "" in seen:
        raise DataError(f"{path}: expected a label in every row, got an empty one; fill it in")
    try:
        classes = sorted(seen, key=float)
    except ValueError:
        classes = sorted(seen)
    place = {seen[name]: k for k, name in enumerate(classes)}
    return array("i", (place[label] for label in found)), tuple(classes)


def _held_out(path: Path, names: list[str], labels: "array[int]") -> Array:
    if "split" not in names:
        task = registry.named(registry.USUAL)
        return held_out_of(task, np.asarray(labels), len(labels))
    column = names.index("split")
    out = array("b")
    for line, row in _rows(path):
        if row[column] not in ("train", "test"):
            raise DataError(
                f"{path}: expected train or test in the column split, got '{row[column]}' in line "
                f"{line}; correct the line, or rename the column"
            )
        out.append(row[column] == "test")
    return np.asarray(out).astype(bool)
