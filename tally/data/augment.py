"""Pictures rotated and shifted a little: a training split enlarged."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tally.data.content import Array, Chunk, Content
from tally.errors import SpecError
from tally.tasks import registry
from tally.tasks.targets import rows as rows_of

VERSION = 1
ROTATION_DEGREES = 12.0
SHIFT_PIXELS = 2.5
SEED = 20
_TOGETHER = 32  # copies that share one rotation and shift: warped in one go, which is fast


def warp(
    pictures: Array, degrees: float, shift: tuple[float, float], size: tuple[int, int]
) -> Array:
    """Pictures scaled to `size`, rotated about the centre and shifted, by bilinear interpolation.

    Args:
        pictures: (n, height, width, channels), uint8 or float32.
        degrees: angle, counter-clockwise on screen.
        shift: rows and columns, in pixels of the result.
        size: height and width of the result. What lies outside the picture is 0.

    Returns:
        (n, *size, channels) of the same dtype; uint8 is rounded.
    """
    count, height, width, channels = pictures.shape
    rows, columns = np.indices(size, np.float32).reshape(2, -1)
    rows += 0.5 - size[0] / 2 - shift[0]
    columns += 0.5 - size[1] / 2 - shift[1]
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    source_rows = (cosine * rows + sine * columns) * (height / size[0]) + height / 2 - 0.5
    source_columns = (cosine * columns - sine * rows) * (width / size[1]) + width / 2 - 0.5
    top, left = np.floor(source_rows).astype(int), np.floor(source_columns).astype(int)
    flat = pictures.reshape(count, height * width, channels)
    result = np.zeros((count, len(rows), channels), np.float32)
    for row, row_weight in ((top, 1 - source_rows + top), (top + 1, source_rows - top)):
        for column, weight in (
            (left, 1 - source_columns + left),
            (left + 1, source_columns - left),
        ):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = np.where(inside, row * width + column, 0)
            share = np.where(inside, row_weight * weight, 0).astype(np.float32)
            result += flat[:, index] * share[:, None]
    if pictures.dtype == np.uint8:
        result += 0.5
    return result.astype(pictures.dtype).reshape(count, *size, channels)


def copies(
    x: Array, y: Any, count: int, size: tuple[int, int], random: np.random.Generator
) -> Iterator[Chunk]:
    """`count` copies of every picture in random order, rotated and shifted, as training chunks.

    Args:
        x: pictures (n, height, width, channels).
        y: their targets.
        count: copies of each.
        size: height and width of the copies, in pixels.
        random: says which; seed it.
    """
    order = random.permutation(len(x) * count) % len(x)
    for start in range(0, len(order), _TOGETHER):
        some = order[start : start + _TOGETHER]
        degrees = random.uniform(-ROTATION_DEGREES, ROTATION_DEGREES)
        rows, columns = random.uniform(-SHIFT_PIXELS, SHIFT_PIXELS, 2)
        yield Chunk("train", warp(x[some], degrees, (rows, columns), size), rows_of(y, some))


def enlarged(content: Content, times: int) -> Content:
    """The same content with its training split enlarged; the test split is never changed.

    Each chunk's originals come first, then `times` - 1 copies of it, each picture rotated by
    up to ± ROTATION_DEGREES and shifted by up to ± SHIFT_PIXELS. Seeded: always the same.

    Args:
        content: of pictures.
        times: 1 or more; 1 leaves everything as it is.

    Raises:
        SpecError: the content is not of pictures, or their targets would not fit any more.
    """
    if times == 1:
        return content
    if content.meta.kind != "image":
        raise SpecError(
            f"augment: expected 0 or 1 for {content.meta.name} ({content.meta.kind}; only pictures "
            f'can be rotated and shifted), got {times}; pass SET="augment=0"'
        )
    if not registry.named(content.meta.task).invariant:
        raise SpecError(
            f"augment: expected 0 or 1 for {content.meta.name} ({content.meta.task}: what is to be "
            "answered would not fit pictures that are rotated and shifted), got "
            f'{times}; pass SET="augment=0"'
        )
    height, width, _ = content.meta.input_shape

    def chunks() -> Iterator[Chunk]:
        random = np.random.default_rng(SEED)
        for chunk in content.chunks():
            yield chunk
            if chunk.split == "train":
                yield from copies(chunk.x, chunk.y, times - 1, (height, width), random)

    return replace(content, chunks=chunks, examples=0)
