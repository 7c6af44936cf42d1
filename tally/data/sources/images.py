"""A folder of class-named folders of pictures."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tally.data import pictures
from tally.data.content import Array, Chunk, Content, Meta, SplitName
from tally.data.levels import Levels, levels
from tally.data.reading import files_below, rows_a_chunk
from tally.data.split import held_out
from tally.errors import DataError
from tally.spec import Spec

VERSION = 2
OPTIONS = ("image_size_pixels", "resize", "channels", "range", "background")
LAYOUT = "a folder of class-named folders of pictures, below train/ and test/ (or val/) or not"
_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES


def recognises(path: Path) -> bool:
    """A folder with a picture in one of its folders."""
    return path.is_dir() and any(
        _is_picture(file) and file.parent != path for file in files_below(path)
    )


def load(path: Path, spec: Spec) -> Content:
    """The pictures, image_size_pixels high and wide; 80/20 by class if not split.

    Raises:
        DataError: a class without a picture, a class of test/ that train/ lacks, a file that is
            no picture, a class that is of one colour only as it is read.
    """
    found, others = levels(path), Counter[str]()
    examples, names = _listed(found, others)
    how, words = pictures.decide((file for file, _ in examples["train"]), spec)
    meta = Meta(path.name, "image", how.shape, *how.stored, names, reading=how.to_json())
    rows = rows_a_chunk(math.prod(how.shape) * np.dtype(meta.input_dtype).itemsize)
    classes: list[_Class] = []

    def chunks() -> Iterator[Chunk]:
        classes[:] = [_Class(name) for name in names]
        for split, files in examples.items():
            for start in range(0, len(files), rows):
                some = files[start : start + rows]
                x = np.stack([classes[label].add(pictures.read(file, how)) for file, label in some])
                yield Chunk(split, x, np.array([label for _, label in some]))
        for each in classes:
            each.require_something(path)

    def said() -> list[str]:
        return [*words, *(sentence for each in classes for sentence in each.said())]

    left_out = {f"{ending} files, which are read as no pictures": n for ending, n in others.items()}
    return found.told(Content(meta, chunks, sum(map(len, examples.values())), left_out, said))


@dataclass
class _Class:
    """What became of a class's pictures.

    Attributes:
        name: of the class.
        examples: pictures read.
        filled: of them, those with more than one value in their files.
        emptied: of those, the ones that are of one value as they were read.
        rolls: with more frames than the first, which is read.
    """

    name: str
    examples: int = 0
    filled: int = 0
    emptied: int = 0
    rolls: int = 0

    def add(self, seen: pictures.Seen) -> Array:
        """Count a picture, and give its array."""
        self.examples += 1
        self.filled += seen.is_filled
        self.emptied += seen.is_filled and not bool((seen.x != seen.x[0, 0]).any())
        self.rolls += seen.frames > 1
        return seen.x

    def require_something(self, path: Path) -> None:
        """Refuse a class of which nothing is left (DataError)."""
        if self.filled and self.filled == self.emptied:
            raise DataError(
                f"{path}: expected class {self.name} to have more than one colour, got one "
                f"wherever {self.filled:,} of its {self.examples:,} pictures were read, though "
                'their files have more; try SET="background=black", another range or another resize'
            )

    def said(self) -> Iterator[str]:
        """What is odd about it."""
        if not self.filled:
            yield f"each picture of class {self.name} is of one colour in its file"
        elif self.emptied:
            yield (
                f"{self.emptied:,} of {self.examples:,} pictures of class {self.name} are of one "
                "colour as they are read, though their files have more"
            )
        if self.rolls:
            yield (
                f"of {self.rolls:,} pictures of class {self.name} that have several frames the "
                "first is read"
            )


def _listed(
    found: Levels, others: Counter[str]
) -> tuple[dict[SplitName, list[tuple[Path, int]]], tuple[str, ...]]:
    """Files with their labels by split, and the names of the classes; `others` counts what is none.

    Those are counted by their endings.
    """
    names = _classes(found.root)
    if not names:
        raise DataError(
            f"{found.root}: expected folders of pictures named like their classes, got none; put "
            "each picture into its class's folder"
        )
    if given := found.given:
        if extra := set(_classes(given["test"])) - set(names):
            raise DataError(
                f"{given['test']}: expected the classes of {given['train']}, got {min(extra)} "
                "too; add it to train or remove it"
            )
        return {
            split: _files(level, names, others, must=split == "train")
            for split, level in given.items()
        }, names
    files = _files(found.root, names, others, must=True)
    test = held_out(np.array([label for _, label in files]))
    return {
        "train": [file for file, out in zip(files, test, strict=True) if not out],
        "test": [file for file, out in zip(files, test, strict=True) if out],
    }, names


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(
        sorted(e.name for e in folder.iterdir() if e.is_dir() and not e.name.startswith("."))
    )


def _files(
    folder: Path, names: tuple[str, ...], others: Counter[str], must: bool
) -> list[tuple[Path, int]]:
    found = []
    for label, name in enumerate(names):
        below = files_below(folder / name) if (folder / name).is_dir() else []
        pictures = [file for file in below if _is_picture(file)]
        others.update(f.suffix.lower() or f.name for f in below if not _is_picture(f))
        if must and not pictures:
            raise DataError(
                f"{folder / name}: expected pictures ({', '.join(sorted(_SUFFIXES))}), got none; "
                "add some or remove the folder"
            )
        found += [(file, label) for file in pictures]
    return found
