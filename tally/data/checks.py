"""What examples must be before they reach a shard."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tally.data.content import Array, Meta
from tally.errors import DataError
from tally.tasks import registry
from tally.tasks.targets import Ragged, arrays_of, by_name, values_of
from tally.tasks.task import Target

_FITTING = {"i": "iu", "u": "iu", "f": "fiu", "b": "b"}  # numpy's kinds that one can be made of


def check_examples(meta: Meta, where: str, x: Array, y: Any) -> None:
    """Refuse examples that are not what `meta` and its task say (DataError).

    Args:
        meta: of the dataset.
        where: the first words of an error.
        x: (n, …).
        y: their targets.
    """
    task = registry.named(meta.task)
    if (shape := tuple(x.shape[1:])) != meta.input_shape:
        raise DataError(
            f"{where}: expected examples of shape {meta.input_shape}, got {shape}; "
            "bring all examples to one shape"
        )
    wanted = by_name(task.target(meta.facts), task.name)
    given = arrays_of(y)
    if given.keys() != wanted.keys():
        raise DataError(
            f"{where}: expected targets {_told(wanted)}, got {_told(given)}; give those of the task"
        )
    for name, target in wanted.items():
        _check_array(where, name, target, given[name], len(x))
    task.check(y, meta.facts, where)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x).reshape(len(x), -1).all(axis=1)))
        strata = task.stratify(y)
        of = "" if strata is None else f" labelled {task.strata(meta.facts)[int(strata[bad])]}"
        raise DataError(
            f"{where}: expected finite numbers, got NaN or infinity in an example{of}; "
            "remove or fill such examples"
        )
    if meta.kind == "tokens" and x.size and not 0 <= x.min() <= x.max() < len(meta.vocabulary):
        raise DataError(
            f"{where}: expected token ids from 0 to {len(meta.vocabulary) - 1}, got "
            f"{int(x.min()) if x.min() < 0 else int(x.max())}; number the tokens from 0"
        )


def _check_array(where: str, name: str, target: Target, given: Any, examples: int) -> None:
    """Refuse an array that is not of its target's type and shape, or not one an example."""
    if isinstance(given, Ragged) != target.ragged:
        raise DataError(
            f"{where}: expected {name or 'a target'} {'with' if target.ragged else 'without'} any "
            f"number of rows an example, got {type(given).__name__}; "
            f"{'make it Ragged.of(…)' if target.ragged else 'make it one array'}"
        )
    array = values_of(given)
    kind = np.dtype(target.dtype).kind
    right = array.shape[1:] == target.shape and array.dtype.kind in _FITTING[kind]
    if array.ndim and right and len(given) == examples:
        return
    whole, numbers = ("whole-number ", "integers") if kind in "iu" else ("", "numbers")
    wanted = ("rows" if target.ragged else "examples", *target.shape)
    raise DataError(
        f"{where}: expected one {whole}{name or 'label'} an example, got {name or 'labels'} "
        f"{array.dtype} of shape {array.shape} for {examples} examples; make them {numbers} of "
        f"shape {_tuple(wanted)}"
    )


def _tuple(sizes: tuple[Any, ...]) -> str:
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def _told(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(name or "of one array" for name in names)) or "none"


def check_splits(
    meta: Meta, splits: Mapping[str, Mapping[str, Any]], equal: Collection[str] = ()
) -> None:
    """Refuse a split without examples or with equal ones only, and a stratum without training ones.

    The error is a DataError.

    Args:
        meta: of the dataset.
        splits: what dataset.json says of each: examples and, where there are strata, by_class.
        equal: names of those whose examples are all equal.
    """
    strata = registry.named(meta.task).strata(meta.facts)
    for split, found in splits.items():
        if not found["examples"]:
            enough = " (two a class or more)" if strata else ""
            raise DataError(
                f"{meta.name}: expected examples in the {split} split, got none; "
                f"add examples{enough}"
            )
        if split in equal and found["examples"] > 1:
            raise DataError(
                f"{meta.name}: expected examples that differ in the {split} split, got "
                f"{found['examples']:,} equal ones; nothing can be learnt of them: check the source"
            )
    for name, examples in zip(strata, splits["train"].get("by_class", ()), strict=True):
        if not examples:
            raise DataError(
                f"{meta.name}: expected training examples of every class, got none of {name}; "
                "add some, or leave the class out (classes are numbered from 0 without gaps)"
            )


def single_examples(meta: Meta, splits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence for each class that has one example: it is learnt by heart, or only tested.

    Args:
        meta: of the dataset.
        splits: as in check_splits.
    """
    by_class = zip(*(found.get("by_class", ()) for found in splits.values()), strict=True)
    named = zip(meta.class_names, by_class, strict=False)
    return [f"class {name} has one example" for name, counts in named if sum(counts) == 1]
