"""Small sources as a user would have them, written for a test."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = 3


def pictures(examples: int, size: int = 6, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    x = random.integers(0, 256, (examples, size, size), dtype=np.uint8)
    return x, np.arange(examples) % CLASSES


def npz(path: Path, **changes: Any) -> Path:
    x_train, y_train = pictures(30)
    x_test, y_test = pictures(9, seed=1)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def idx(folder: Path, compressed: bool = True, **changes: bytes | None) -> Path:
    folder.mkdir(exist_ok=True)
    opener, end = (gzip.open, ".gz") if compressed else (open, "")
    for prefix, examples in (("train", 30), ("t10k", 9)):
        x, y = pictures(examples, seed=examples)
        images = struct.pack(">4B3I", 0, 0, 8, 3, *x.shape) + x.tobytes()
        labels = struct.pack(">4BI", 0, 0, 8, 1, len(y)) + y.astype(np.uint8).tobytes()
        for part, data in (("images-idx3", images), ("labels-idx1", labels)):
            data = changes.get(f"{prefix}_{part[:6]}", data)
            if data is not None:
                with opener(folder / f"{prefix}-{part}-ubyte{end}", "wb") as file:
                    file.write(data)
    return folder


def image_folders(folder: Path, examples: int = 10, size: int = 12) -> Path:
    for label, name in enumerate(("cat", "dog", "owl")):
        (folder / name).mkdir(parents=True)
        for k in range(examples):
            picture = np.full((size, size + k, 3), 40 * label + k, np.uint8)
            Image.fromarray(picture).save(folder / name / f"{k}.{('png', 'jpg')[k % 2]}")
    return folder


def texts(folder: Path, examples: int = 10) -> Path:
    folder.mkdir(parents=True)
    for name in ("ham", "spam"):
        lines = [f"{name} line {k} {'x' * k}" for k in range(examples)]
        (folder / f"{name}.txt").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return folder


def documents(folder: Path, examples: int = 10) -> Path:
    """As IMDB's reviews come: beside the classes' folders are lists of addresses."""
    for level in ("train", "test"):
        for name in ("neg", "pos"):
            (folder / level / name).mkdir(parents=True)
            (folder / level / f"urls_{name}.txt").write_text("http://example.com/1\n")
            for k in range(examples):
                text = f"{name} {level}\nreview {k}"
                (folder / level / name / f"{k:02}.txt").write_text(text, encoding="utf-8")
    return folder


def table(path: Path, header: str = "a,label,b", rows: int = 20) -> Path:
    lines = [f"{k},{'yes' if k % 2 else 'no'},{k / 4}" for k in range(rows)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path
