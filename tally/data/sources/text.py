"""A folder with one text file a class, one example a line."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tally.data.content import Content
from tally.data.levels import levels, root_of, split_named
from tally.data.reading import reading, require_utf8
from tally.data.split import held_out
from tally.data.text import Row, text_content
from tally.errors import DataError
from tally.spec import Spec

VERSION = 1
OPTIONS = ("sequence_length",)
LAYOUT = "a folder of class.txt files with an example a line, below train/ and test/ or not"


def recognises(path: Path) -> bool:
    """A folder with .txt files, or with some in its train/."""
    return path.is_dir() and bool(_classes(root_of(path)))


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(f.stem for f in folder.glob("*.txt") if f.is_file() and f.name[0] != "."))


def load(path: Path, spec: Spec) -> Content:
    """The lines as characters, sequence_length of them; empty lines are no examples.

    Raises:
        DataError: a class without a line, a class of test/ that train/ lacks, not UTF-8.
    """
    found = levels(path)
    given_levels, root = found.given, found.root
    classes = _classes(root)
    if split := next(filter(split_named, classes), ""):
        raise DataError(
            f"{root}: expected a file a class, got {split}.txt, which is named like a split; put "
            "the files of classes below train/ and test/"
        )
    if given_levels and (extra := set(_classes(given_levels["test"])) - set(classes)):
        raise DataError(
            f"{given_levels['test']}: expected the classes of {root}, got {min(extra)}.txt "
            "too; add it to train or remove it"
        )
    counts = [_count(root / f"{name}.txt") for name in classes]

    def given() -> Iterator[Row]:
        for split, level in given_levels.items():
            for label, name in enumerate(classes):
                for line in _lines(level / f"{name}.txt"):
                    yield split, label, line

    def divided() -> Iterator[Row]:
        test = iter(held_out(np.repeat(np.arange(len(classes)), counts)).tolist())
        for label, name in enumerate(classes):
            for line in _lines(root / f"{name}.txt"):
                yield ("test" if next(test) else "train"), label, line

    rows = given if given_levels else divided
    return found.told(text_content(path.name, classes, rows, spec.sequence_length))


def _count(file: Path) -> int:
    count = sum(1 for _ in _lines(file))
    if not count:
        raise DataError(
            f"{file}: expected an example a line, got none; add some or remove the file"
        )
    return count


def _lines(file: Path) -> Iterator[str]:
    if not file.is_file():
        return
    with (
        reading(file, "text in UTF-8", "convert or replace the file"),
        open(file, encoding="utf-8-sig", errors="surrogateescape") as lines,
    ):
        for number, line in enumerate(lines, 1):
            require_utf8(file, number, line)
            if text := line.strip():
                yield text
