"""Datasets of the tasks here, and the tasks themselves while a test runs."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.tasks import boxes, heat
from tally.data.format import Array, Chunk, Content, Meta, write
from tally.tasks.targets import Ragged

PICTURES = Meta("pictures", "image", (8, 8, 1), "uint8", 1 / 255)


def register(patch: pytest.MonkeyPatch) -> None:
    """What a file in tally/tasks/ is."""
    for module in (boxes, heat):
        patch.setitem(sys.modules, f"tally.tasks.{module.TASK.name}", module)


def pictures(examples: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (examples, 8, 8, 1)).astype(np.uint8)


def some_boxes(examples: int, most: int = 5, seed: int = 1) -> list[Array]:
    """Of each example, 0 … most."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, most + 1, examples)
    return [np.sort(random.uniform(0, 8, (k, 2, 2)), 1).reshape(k, 4).astype("f4") for k in counts]


def some_heat(examples: int, seed: int = 2) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    known = random.random((examples, 4, 4)) < 0.5
    known[:, 0, 0] = True
    return {"heat": random.uniform(0, 3, (examples, 4, 4, 2)).astype("f4"), "known": known}


def made(folder: Path, task: str, x: Array, targets: list[Any], tests: int = 5) -> Path:
    """A dataset with the examples in chunks of 7, and the first few once more as its test split.

    Args:
        folder: where it goes.
        task: of those here.
        x: (n, 8, 8, 1).
        targets: a chunk's targets for each 7 of them.
        tests: 1 to 7.
    """
    whole = sys.modules[f"tally.tasks.{task}"].TASK
    meta = PICTURES.learning(task, whole.prepare(targets, "made"))

    def chunks() -> Iterator[Chunk]:
        for k, target in enumerate(targets):
            yield Chunk("train", x[7 * k : 7 * (k + 1)], target)
        first = {name: each[:tests] for name, each in targets[0].items()}
        yield Chunk("test", x[:tests], first)

    write(folder, Content(meta, chunks), {"name": meta.name})
    return folder


def of_boxes(folder: Path, x: Array, boxes_of: list[Array]) -> Path:
    """A dataset of boxes."""
    parts = [boxes_of[k : k + 7] for k in range(0, len(x), 7)]
    return made(folder, "boxes", x, [{"boxes": Ragged.of(part)} for part in parts])


def of_heat(folder: Path, x: Array, target: dict[str, Array]) -> Path:
    """A dataset of heat."""
    slices = [slice(k, k + 7) for k in range(0, len(x), 7)]
    return made(folder, "heat", x, [{k: v[s] for k, v in target.items()} for s in slices])
