"""Folders of pictures, and what a model sees of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from tally.data import registry
from tally.data.format import Dataset, open_dataset
from tally.spec import Spec

RANDOM = np.random.default_rng(4)
GREY = RANDOM.integers(20, 236, (10, 12, 12), dtype=np.uint8)


def prepared(source: Path, **settings: object) -> Dataset:
    return open_dataset(registry.prepare(Spec(dataset=str(source), **settings))[0])


def values(dataset: Dataset, split: str = "train") -> np.ndarray:
    """As a model sees them."""
    part = dataset.splits[split]
    return part.gather(np.arange(len(part)))[0] * np.float32(dataset.meta.input_scale)


def folder(path: Path, pictures: list[Image.Image], ending: str = "png", **how: object) -> Path:
    """Two classes, half of the pictures each."""
    for k, picture in enumerate(pictures):
        place = path / "ab"[k * 2 // len(pictures)] / f"{k:02}.{ending}"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture.save(place, **how)
    return path


def greys(path: Path) -> Path:
    return folder(path, [Image.fromarray(each) for each in GREY])
