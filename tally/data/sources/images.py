"""A folder of class-named folders of pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from tally.data.content import Array, Chunk, Content, Meta, SplitName
from tally.data.reading import files_below, reading, rows_a_chunk, split_folders
from tally.data.split import held_out
from tally.errors import DataError
from tally.spec import Spec

VERSION = 1
OPTIONS = ("image_size_pixels",)
LAYOUT = "a folder of class-named folders of pictures, below train/ and test/ or not"
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
    """The pictures in grey, image_size_pixels high and wide; 80/20 by class if not split.

    Raises:
        DataError: a class without a picture, a class of test/ that train/ lacks, a file that is
            no picture.
    """
    examples, names = _listed(path)
    size = spec.image_size_pixels
    meta = Meta(path.name, "image", (size, size, 1), "uint8", 1 / 255, names)
    rows = rows_a_chunk(size * size)

    def chunks() -> Iterator[Chunk]:
        for split, files in examples.items():
            for start in range(0, len(files), rows):
                some = files[start : start + rows]
                x = np.stack([_picture(file, size) for file, _ in some])
                yield Chunk(split, x, np.array([label for _, label in some]))

    return Content(meta, chunks, sum(len(files) for files in examples.values()))


def _listed(path: Path) -> tuple[dict[SplitName, list[tuple[Path, int]]], tuple[str, ...]]:
    """Files with their labels by split, and the names of the classes."""
    levels = split_folders(path)
    names = _classes(levels.get("train", path))
    if levels:
        if extra := set(_classes(levels["test"])) - set(names):
            raise DataError(
                f"{levels['test']}: expected the classes of {levels['train']}, got {min(extra)} "
                "too; add it to train or remove it"
            )
        return {
            cast(SplitName, split): _files(level, names, must=split == "train")
            for split, level in levels.items()
        }, names
    files = _files(path, names, must=True)
    test = held_out(np.array([label for _, label in files]))
    return {
        "train": [file for file, out in zip(files, test, strict=True) if not out],
        "test": [file for file, out in zip(files, test, strict=True) if out],
    }, names


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(
        sorted(e.name for e in folder.iterdir() if e.is_dir() and not e.name.startswith("."))
    )


def _files(folder: Path, names: tuple[str, ...], must: bool) -> list[tuple[Path, int]]:
    found = []
    for label, name in enumerate(names):
        below = files_below(folder / name) if (folder / name).is_dir() else []
        pictures = [file for file in below if _is_picture(file)]
        if must and not pictures:
            raise DataError(
                f"{folder / name}: expected pictures ({', '.join(sorted(_SUFFIXES))}), got none; "
                "add some or remove the folder"
            )
        found += [(file, label) for file in pictures]
    return found


def _picture(file: Path, size: int) -> Array:
    from PIL import Image, ImageOps

    with reading(file, "a picture", "replace or remove the file"):
        try:
            with Image.open(file) as image:
                image.draft("L", (size, size))  # lets a JPEG be decoded smaller, which is faster
                grey = ImageOps.exif_transpose(image).convert("L")
                small = grey.resize((size, size), Image.Resampling.BILINEAR)
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error
    return np.asarray(small)[..., np.newaxis]
