"""The pixels of a picture's file, whatever its type."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tally.data.content import Array
from tally.data.reading import reading
from tally.limits import pixel_range

if TYPE_CHECKING:
    from PIL.Image import Image

_WHAT_IS_WHITE, _BITS, _SAMPLE_FORMAT = 262, 258, 339  # tags of TIFF
_SIGNED = 2


@dataclass(frozen=True)
class Reading:
    """How a picture becomes an array; fields have the names of the Spec's parameters.

    Attributes:
        image_size_pixels: height and width.
        resize: fit, crop or stretch.
        channels: 1, grey, or 3, red, green and blue.
        background: white or black, what transparent pictures are laid on.
        range: values that become 0 and 1, LOW..HIGH; "" for what a picture's type holds.
        decimal: range is train's own, of decimal numbers.
        deep: stored as float32 from 0 to 1, where bytes would lose something.
    """

    image_size_pixels: int
    resize: str
    channels: int
    background: str
    range: str
    decimal: bool
    deep: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an array: height, width, channels."""
        return self.image_size_pixels, self.image_size_pixels, self.channels

    @property
    def stored(self) -> tuple[str, float]:
        """An array's type, and what makes it 0 to 1."""
        return ("float32", 1.0) if self.deep else ("uint8", 1 / 255)

    def to_json(self) -> dict[str, Any]:
        """As a dataset's meta keeps it: the Spec's parameters as the Spec has them."""
        return {**asdict(self), "channels": str(self.channels)}


@contextmanager
def opened(file: Path) -> Iterator["Image"]:
    """A picture's file, its pixels not yet decoded; what goes wrong inside is a DataError."""
    from PIL import Image

    with reading(file, "a picture", "replace or remove the file"):
        try:
            with Image.open(file) as image:
                yield image
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error


class Kind(NamedTuple):
    """What a file says of its pixels before they are decoded.

    Attributes:
        deep: grey of more than 8 bits.
        decimal: of floating point.
        cut: colours of 16 bits, of which Pillow reads the upper 8.
        largest: that its type of whole numbers holds.
        inverted: 0 is white.
        nothing: the value of transparent pixels.
    """

    deep: bool
    decimal: bool
    cut: bool
    largest: int
    inverted: bool
    nothing: int | None


def kind_of(image: Any) -> Kind:
    """Of an opened file."""
    tags = image.tag_v2 if image.format == "TIFF" else {}
    deep, args = image.mode[0] in "IF", image.tile[0].args if image.tile else ""
    wide = image.format == "PPM" and isinstance(args, tuple) and args[-1] > 255
    signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    return Kind(
        deep,
        image.mode == "F",
        not deep and (wide or ";16" in str(args)),
        2 ** (tags.get(_BITS, (16,))[0] - signed) - 1,  # Pillow brings those of PGM to 16 bits
        tags.get(_WHAT_IS_WHITE) == 0,
        image.info.get("transparency") if deep else None,
    )


def values_of(image: "Image", kind: Kind) -> Array:
    """Of a deep picture, float64 (height, width), black being low."""
    values = np.asarray(image)
    if kind.decimal:
        if not np.isfinite(values).all():
            raise ValueError("NaN or infinity")
        return values.astype(np.float64)
    if kind.largest >= 2**32 - 1:
        values = values.view(np.uint32)  # Pillow gives 32 bits a sign
    return kind.largest - values.astype(np.float64) if kind.inverted else values.astype(np.float64)


def pixels_of(image: "Image", kind: Kind, how: Reading) -> tuple[Array, Array]:
    """An opened picture upright, (height, width, channels) before its size; and its file's values.

    Raises:
        ValueError: it cannot be read without loss.
    """
    return _grey(image, kind, how) if kind.deep else _of_bytes(image, how)


def _grey(image: "Image", kind: Kind, how: Reading) -> tuple[Array, Array]:
    from PIL import ImageOps

    values = values_of(ImageOps.exif_transpose(image), kind)
    if not how.range and values.min() < 0:
        raise ValueError(f"the value {values.min():.0f} of a picture without a range")
    pixels = _scaled(values, *(pixel_range(how.range) or (0, kind.largest)))
    if kind.nothing is not None:
        pixels[values == kind.nothing] = how.background == "white"
    if not how.deep:  # only pictures of the test split
        pixels = np.rint(pixels * 255).astype(np.uint8)
    return np.repeat(pixels[..., np.newaxis], how.channels, -1), values


def _of_bytes(image: "Image", how: Reading) -> tuple[Array, Array]:
    laid, raw = on_background(image, how.background)
    pixels = np.asarray(laid if how.channels == 3 else laid.convert("L"))
    pixels = pixels.reshape(*pixels.shape[:2], how.channels)
    if how.deep:
        pixels = _scaled(pixels, *(pixel_range(how.range) or (0, 255)))
    return pixels, raw


def on_background(image: "Image", background: str) -> tuple["Image", Array]:
    """A picture of 8 bits upright and laid on a colour, as RGB; and its file's values.

    Args:
        image: opened.
        background: a colour's name.
    """
    from PIL import Image, ImageOps

    turned = ImageOps.exif_transpose(image)
    if not turned.has_transparency_data:
        turned = turned.convert("RGB")
        return turned, np.asarray(turned)
    turned = turned.convert("RGBA")
    laid = Image.alpha_composite(Image.new("RGBA", turned.size, background), turned)
    return laid.convert("RGB"), np.asarray(turned)


def _scaled(values: Array, low: float, high: float) -> Array:
    return ((values - low) / (high - low)).clip(0, 1).astype(np.float32)
