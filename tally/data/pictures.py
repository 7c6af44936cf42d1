"""Pictures as arrays, always in the same way: what is to be decided of it, train decides."""

import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tally.data.content import Array
from tally.data.pixels import Kind, Reading, kind_of, on_background, opened, pixels_of, values_of
from tally.errors import DataError
from tally.spec import Spec

if TYPE_CHECKING:
    from PIL.Image import Image


COLOURED, APART = 0.01, 16  # share of a picture's pixels, and by how much of 255
MOST_PIXELS = 64  # a side has that nobody asked for
_SHAPED = {
    "fit": "whole in a square of their border's colour",
    "crop": "the square in their middle",
    "stretch": "distorted where they are no squares",
}
_GREY = ("1", "L", "LA", "La")


class Seen(NamedTuple):
    """A picture as it was read.

    Attributes:
        x: of the reading's shape and type.
        is_filled: more than one value is in its file, or may be.
        frames: how many pictures the file has; the first is read.
    """

    x: Array
    is_filled: bool
    frames: int


@dataclass
class _Survey:
    """What train's files say.

    Attributes:
        background: what transparent pictures are laid on.
        coloured: whether a picture has colours; None where nobody asks.
        sides: heights and widths, in pixels.
    """

    background: str
    coloured: bool | None
    deep: bool = False
    decimal: bool = False
    transparent: bool = False
    cut: bool = False
    square: bool = True
    sides: list[int] = field(default_factory=list)
    lowest: float = math.inf
    highest: float = -math.inf
    largest: int = 0

    def look(self, image: "Image") -> None:
        """Add a file; decoded is only what is deep, or may be the first with colours."""
        kind = kind_of(image)
        self.sides += image.size
        self.square &= image.size[0] == image.size[1]
        self.transparent |= image.has_transparency_data
        self.cut |= kind.cut
        if kind.deep:
            values = values_of(image, kind)
            self.deep, self.decimal = True, self.decimal or kind.decimal
            self.lowest = min(self.lowest, float(values.min()))
            self.highest = max(self.highest, float(values.max()))
            self.largest = max(self.largest, kind.largest)
        elif self.coloured is False and image.mode not in _GREY:
            laid, _ = on_background(image, self.background)
            self.coloured = _has_colours(laid)


def _has_colours(laid: "Image") -> bool:
    """Whether red, green and blue of more than COLOURED of its pixels are more than APART apart."""
    from PIL import ImageChops

    red, green, blue = laid.split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    least = ImageChops.darker(ImageChops.darker(red, green), blue)
    counts = ImageChops.subtract(most, least).histogram()
    return sum(counts[APART + 1 :]) > COLOURED * sum(counts)


def decide(files: Iterable[Path], spec: Spec) -> tuple[Reading, list[str]]:
    """How pictures are read, and that in words.

    Args:
        files: train's.
        spec: what the user asks for.

    Raises:
        DataError: a file is no picture, or not one that can be read without loss.
    """
    auto = spec.channels == "auto"
    found = _Survey(spec.background, False if auto else None)
    for file in files:
        with opened(file) as image:
            found.look(image)
    asked, own = spec.range, found.decimal and not spec.range
    if own and found.lowest < found.highest:
        asked = f"{found.lowest!r}..{found.highest!r}"
    deep = found.deep or bool(asked)
    channels = (3 if found.coloured else 1) if auto else int(spec.channels)
    size = spec.image_size_pixels or min(MOST_PIXELS, statistics.median_low(found.sides))
    how = Reading(size, spec.resize, channels, spec.background, asked, own, deep)
    return how, list(_words(how, found))


def _words(how: Reading, found: _Survey) -> Iterator[str]:
    size = how.image_size_pixels
    colours = "grey" if how.channels == 1 else "in colour"
    shaped = "" if found.square else f", {_SHAPED[how.resize]} (resize={how.resize})"
    yield (
        f"pictures are read as {size} × {size} pixels{shaped}, {colours} (channels={how.channels})"
    )
    if found.transparent:
        yield f"transparent pictures are laid on {how.background} (background)"
    if how.range:
        yield f"values from {how.range} become 0 to 1, beyond them 0 or 1 (range)"
    elif found.deep:
        yield f"values from 0 to {found.largest:,.0f} become 0 to 1 (range)"
        if found.highest < found.largest / 4:
            yield (
                f"the greatest value of train is {found.highest:,.0f} of {found.largest:,.0f}: "
                f"almost black; range=0..{found.highest:.0f} would use all of it"
            )
    if found.cut:
        yield "colours of 16 bits are read by their upper 8 bits"


def read(file: Path, how: Reading) -> Seen:
    """A picture's file as it is decided.

    Raises:
        DataError: it is no picture, or not one that can be read without loss.
    """
    with opened(file) as image:
        kind, frames = kind_of(image), int(getattr(image, "n_frames", 1))
        _refuse_mixture(file, kind, how)
        if not how.range:
            size = how.image_size_pixels
            image.draft("", (size, size))  # lets a JPEG be decoded smaller, which is faster
        pixels, raw = pixels_of(image, kind, how)
        varies = bool((raw != raw[0, 0]).any())
    return Seen(_sized(pixels, how), varies or kind.cut, frames)


def _refuse_mixture(file: Path, kind: Kind, how: Reading) -> None:
    """Refuse a picture that the decided range says nothing about (DataError)."""
    if kind.cut and how.range:
        expected, got = f"no colours of 16 bits beside range={how.range}", "some, read as 8 bits"
    elif kind.decimal and not how.range:
        expected = "pixels of whole numbers, or range=LOW..HIGH for decimal ones"
        got = "decimal numbers"
    elif how.decimal and not kind.decimal:
        expected, got = "pixels of decimal numbers, as in train", "whole numbers"
    else:
        return
    raise DataError(f"{file}: expected {expected}, got {got}; convert the pictures to one type")


def _sized(pixels: Array, how: Reading) -> Array:
    """A picture (height, width, channels) brought to the reading's size."""
    from PIL import Image, ImageOps

    size = how.image_size_pixels
    height, width = pixels.shape[:2]
    inner = (size, size)
    if how.resize == "fit":
        share = size / max(height, width)
        inner = (max(1, round(width * share)), max(1, round(height * share)))
    sized = []
    for plane in np.moveaxis(pixels, -1, 0):
        image = Image.fromarray(np.ascontiguousarray(plane))
        if how.resize == "crop":
            made = ImageOps.fit(image, inner, Image.Resampling.BILINEAR)
        else:
            made = image.resize(inner, Image.Resampling.BILINEAR)
        sized.append(np.asarray(made))
    found = np.stack(sized, -1)
    return found if found.shape[:2] == (size, size) else _framed(found, pixels, size)


def _framed(inner: Array, pixels: Array, size: int) -> Array:
    """`inner` in the middle of a square filled with the median of the picture's border."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    found = np.empty((size, size, pixels.shape[-1]), pixels.dtype)
    found[:] = np.median(border, axis=0)
    top, left = (size - inner.shape[0]) // 2, (size - inner.shape[1]) // 2
    found[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return found
