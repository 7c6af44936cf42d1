"""A dataset whose class is the sign of the first value."""

from pathlib import Path

import numpy as np

from tally.data.content import Chunk, Content, Meta
from tally.data.format import Dataset, open_dataset, write


def dataset_of(folder: Path, shift: float = 0.0, size: int = 4, one_class: bool = False) -> Dataset:
    """Sequences of one row; features may be shifted, and the test split of one class."""
    generator = np.random.default_rng(3)

    def chunks():
        for split, count in (("train", 300), ("test", 400)):
            x = generator.normal(size=(count, 1, size)).astype(np.float32)
            if one_class and split == "test":
                x[:, 0, 0] = abs(x[:, 0, 0])
            yield Chunk(split, x + shift, (x[:, 0, 0] > 0).astype(np.int64))

    meta = Meta("signs", "sequence", (1, size), "float32", 1, ("minus", "plus"))
    write(folder / "dataset", Content(meta, chunks), {})
    return open_dataset(folder / "dataset")
