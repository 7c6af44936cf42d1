"""digits: 1,797 real handwritten digits that scikit-learn ships, as 28 × 28 pictures.

UCI "Optical recognition of handwritten digits" (E. Alpaydin, C. Kaynak, 1998), test part: 8 × 8
pictures of 0 to 16, here scaled to 28 × 28 bytes. 1,437 are for training and 360 are held out,
a fixed stratified split. The training split is enlarged × 20 by seeded rotations of ± 12° and
shifts of ± 2.5 pixels, each copy made of the 8 × 8 original (`augment=1` turns that off); the test
split never is.
"""

import gzip
from collections.abc import Iterator

import numpy as np

from tally.data import augment
from tally.data.content import Array, Chunk, Content, Meta
from tally.data.installed import package_file
from tally.data.split import held_out
from tally.spec import Spec

VERSION = 1
OPTIONS = ("augment",)
FILE = ("sklearn", "datasets/data/digits.csv.gz")
TEST_EXAMPLES = 360
ENLARGED = 20
_SIZE = (28, 28)


def originals() -> tuple[Array, Array]:
    """The pictures (1797, 8, 8, 1) as uint8 of 0 to 16 and their labels (1797,).

    Read from scikit-learn's own file: importing sklearn.datasets would take a second.

    Raises:
        DataError: scikit-learn is not installed.
    """
    text = gzip.decompress(package_file(*FILE).read_bytes())
    values = np.fromstring(text.replace(b"\n", b","), int, sep=",")
    table = values.reshape(-1, 65)
    return table[:, :-1].astype(np.uint8).reshape(-1, 8, 8, 1), table[:, -1]


def load(spec: Spec) -> Content:
    """The digits; see the module's docstring."""
    x, y = originals()
    x = np.rint(x * (255 / 16)).astype(np.uint8)
    test = held_out(y, TEST_EXAMPLES)
    times = spec.augment or ENLARGED

    def chunks() -> Iterator[Chunk]:
        random = np.random.default_rng(augment.SEED)
        yield Chunk("train", augment.warp(x[~test], 0.0, (0.0, 0.0), _SIZE), y[~test])
        yield from augment.copies(x[~test], y[~test], times - 1, _SIZE, random)
        yield Chunk("test", augment.warp(x[test], 0.0, (0.0, 0.0), _SIZE), y[test])

    names = tuple(str(digit) for digit in range(10))
    meta = Meta("digits", "image", (*_SIZE, 1), "uint8", 1 / 255, names)
    return Content(meta, chunks, examples=int((~test).sum()) * times + TEST_EXAMPLES)
