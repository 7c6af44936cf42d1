"""A folder of class-named folders of text files, one example a file: how IMDB's reviews come."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tally.data.content import Content, SplitName
from tally.data.levels import levels, root_of
from tally.data.reading import files_below, reading
from tally.data.split import held_out
from tally.data.text import Row, text_content
from tally.errors import DataError
from tally.spec import Spec

VERSION = 1
OPTIONS = ("sequence_length",)
LAYOUT = "a folder of class-named folders of .txt files (pos/, neg/), below train/ and test/ or not"
_UNLABELLED = "unsup"  # IMDB's reviews without a label


def recognises(path: Path) -> bool:
    """A folder, or its train/, with two folders or more of nothing but .txt files."""
    if not path.is_dir():
        return False
    return len(_classes(root_of(path))) > 1


def load(path: Path, spec: Spec) -> Content:
    """Each file's text as characters, sequence_length of them; line breaks become spaces.

    Raises:
        DataError: a class of test/ that train/ lacks, or of train/ that test/ lacks, a file that
            is not UTF-8.
    """
    found = levels(path)
    given, classes = found.given, _classes(found.root)
    left_out = {}
    for level in given.values() or (found.root,):
        if unlabelled := len(_texts(level / _UNLABELLED)):
            left_out[f"texts of {level.name}/{_UNLABELLED}, which have no label"] = unlabelled
    if given and (odd := set(_classes(given["test"])) ^ set(classes)):
        raise DataError(
            f"{path}: expected the same classes in train/ and test/, got {min(odd)} in only one of "
            "them; add it to the other or remove it"
        )
    files: dict[SplitName, list[tuple[Path, int]]] = {
        split: [
            (file, label) for label, name in enumerate(classes) for file in _texts(level / name)
        ]
        for split, level in (given or {"train": found.root}).items()
    }
    if not given:
        every = files["train"]
        out = held_out(np.array([label for _, label in every])).tolist()
        files["train"] = [each for each, held in zip(every, out, strict=True) if not held]
        files["test"] = [each for each, held in zip(every, out, strict=True) if held]
    empty = sum(not _text(file) for some in files.values() for file, _ in some)
    if empty:
        left_out["empty files"] = empty

    def rows() -> Iterator[Row]:
        for split, some in files.items():
            for file, label in some:
                if text := _text(file):
                    yield split, label, text

    return found.told(text_content(path.name, classes, rows, spec.sequence_length, left_out))


def _classes(folder: Path) -> tuple[str, ...]:
    """The folders that have texts and nothing else, by name."""
    found = [e for e in folder.iterdir() if e.is_dir() and e.name[0] != "."]
    return tuple(sorted(e.name for e in found if e.name != _UNLABELLED and _texts(e)))


def _texts(folder: Path) -> list[Path]:
    """The .txt files of a folder; none where it has other files too."""
    files = files_below(folder) if folder.is_dir() else []
    return files if all(file.suffix == ".txt" for file in files) else []


def _text(file: Path) -> str:
    with reading(file, "text in UTF-8", "convert or remove the file"):
        return " ".join(file.read_text(encoding="utf-8-sig").split())
