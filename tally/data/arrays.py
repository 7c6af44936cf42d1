"""Datasets that come as arrays: what their shapes and types mean."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tally.data.content import Array, Meta
from tally.errors import DataError
from tally.tasks import registry
from tally.tasks.registry import USUAL
from tally.tasks.task import Facts, Task

MOST_TOKENS = 1_000_000
_PIXELS = {
    "uint8": ("uint8", 1 / 255),
    "uint16": ("float32", 1 / 65_535),
}  # as stored, and its scale


def learnt(where: str, targets: Iterable[Any], named: str = "") -> tuple[str, Facts]:
    """The task that training targets are of, and what it learns of them.

    It is what a source names, else it goes by their type: whole numbers are classes. Here others
    would find theirs.

    Args:
        where: the first words of an error.
        targets: the training split's, part by part; labels are of shape (n,) or (n, 1).
        named: by the source, or "".

    Raises:
        DataError: they are of no task, or not what it takes.
        SpecError: there is no task of that name.
    """
    if named and named != USUAL:
        return named, _prepared(registry.named(named), targets, where)
    labels = (flat_labels(where, part) for part in targets)
    return USUAL, registry.named(USUAL).prepare(labels, where)


def _prepared(task: Task, targets: Iterable[Any], where: str) -> Facts:
    try:
        return task.prepare(targets, where)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        # what they must be is known only with the facts
        got = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise DataError(
            f"{where}: expected targets of the task {task.name}, got others ({got}); give the "
            "arrays that it takes"
        ) from error


def flat_labels(where: str, labels: Array) -> Array:
    """Labels as (n,) integers.

    Raises:
        DataError: they are something else.
    """
    if labels.dtype.kind not in "iu" or labels.shape not in ((len(labels),), (len(labels), 1)):
        raise DataError(
            f"{where}: expected whole-number labels of shape (examples,), got {labels.dtype} of "
            f"shape {labels.shape}; give class numbers from 0 (of one-hot rows: argmax(axis=1)); "
            'numbers are learnt where a file with dataset() says TASK = "regression"'
        )
    return labels.reshape(-1)


def describe(name: str, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> Meta:
    """The meta of examples that come as one array, of no task yet.

    Args:
        name: of the dataset.
        shape: of the array: (n, height, width[, channels]) are pictures, (n, length) are tokens
            if whole numbers, else a sequence with one feature.
        dtype: of the array: uint8, uint16 or floating point for pictures.

    Raises:
        DataError: a shape or type that means nothing here.
    """
    if dtype.kind == "f" and len(shape) == 2:
        return Meta(name, "sequence", (*shape[1:], 1), "float32", 1.0)
    if dtype.kind in "iu" and len(shape) == 2:
        return Meta(name, "tokens", shape[1:], "int32", 1.0)
    if len(shape) in (3, 4) and (dtype.name in _PIXELS or dtype.kind == "f"):
        stored, scale = _PIXELS.get(dtype.name, ("float32", 1.0))
        size = shape[1:] if len(shape) == 4 else (*shape[1:], 1)
        return Meta(name, "image", size, stored, scale)
    raise DataError(
        f"{name}: expected pictures (n, height, width[, channels]) as uint8, uint16 or floats, "
        f"token ids (n, length) as integers or series (n, length) as floats, got {dtype} of shape "
        f"{shape}; reshape or convert them"
    )


def token_names(where: str, ids: Iterable[Array]) -> tuple[str, ...]:
    """A vocabulary for token ids whose words nobody told: "" (0, padding), "�" (1), "2", …

    Raises:
        DataError: negative or absurdly high ids.
    """
    highest = 1
    for part in ids:
        if part.size:
            lowest, highest = int(part.min()), max(highest, int(part.max()))
            if lowest < 0 or highest >= MOST_TOKENS:
                raise DataError(
                    f"{where}: expected token ids from 0 to {MOST_TOKENS - 1}, got "
                    f"{lowest if lowest < 0 else highest}; number the tokens from 0"
                )
    return ("", "\ufffd", *(str(token) for token in range(2, highest + 1)))
