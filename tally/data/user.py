"""A dataset() of the user's own: arrays, or the name of a source."""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tally import usercode
from tally.data import arrays
from tally.data.content import Array, Chunk, Content, Meta, SplitName
from tally.data.head import head
from tally.data.reading import rows_a_chunk
from tally.errors import DataError, SpecError
from tally.tasks import registry
from tally.tasks.registry import USUAL
from tally.tasks.targets import Ragged, arrays_of, values_of
from tally.tasks.targets import rows as rows_of
from tally.userfile import is_user_file, members

VERSION = 1
_SPLITS: tuple[SplitName, ...] = ("train", "test")


@dataclass(frozen=True)
class Given:
    """What a dataset() returned.

    Attributes:
        task: that the file names as TASK, or its own path where it has one of its own; that of
            labels if it names none.
        splits: examples (n, …) and their targets.
    """

    task: str
    splits: dict[SplitName, tuple[Array, Any]]


def check(path: str) -> None:
    """Refuse a file that has no dataset(), without running it: it may import TensorFlow.

    Raises:
        SpecError: no such file, it does not parse, or nothing in it is called dataset.
    """
    try:
        tree = ast.parse(Path(path).read_bytes(), path)
    except SyntaxError as error:
        raise usercode.failed(path, "Python", error, "correct it") from error
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{path}: expected a Python file with dataset(), got '{error}'; correct it"
        ) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "dataset":
            return
        if isinstance(node, ast.Name) and node.id == "dataset" and isinstance(node.ctx, ast.Store):
            return
        if isinstance(node, ast.alias) and (node.asname or node.name) in ("dataset", "*"):
            return
    raise SpecError(f"{path}: expected a function dataset(), got none; define it")


def dataset(path: str) -> Given | str:
    """What the file's dataset() returns: arrays by split, or the name of a source.

    Where the file names a task, `TASK = "name"`, or has one, `TASK = MyTask()`, targets may be
    several arrays by name, a list of arrays among them being the rows of each example.

    Raises:
        SpecError: there is no such function; no such task, or TASK is none.
        UserCodeError: it fails.
        DataError: it returns something else.
    """
    make, named = members(path, "dataset", "TASK")
    task = _task(path, USUAL if named is None else named)
    with usercode.expected(path, "dataset() to return a dataset", "correct the function"):
        given = make()
    if isinstance(given, str | Path):
        if task != USUAL:
            raise SpecError(
                f"{path}: expected dataset() to return arrays for the task {task}, got the name of "
                "a source, which has labels; leave TASK out, or return arrays"
            )
        return str(given)
    return Given(task, _splits(path, given, task))


def _splits(path: str, given: Any, task: str) -> dict[SplitName, tuple[Array, Any]]:
    """Examples and targets of what dataset() returned, that belong together."""
    try:
        (x_train, y_train), (x_test, y_test) = given
        found: dict[SplitName, tuple[Array, Any]] = {
            "train": (np.asarray(x_train), _target(y_train, task)),
            "test": (np.asarray(x_test), _target(y_test, task)),
        }
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected dataset() to return ((x_train, y_train), (x_test, y_test)) or the "
            f"name of a source, got {type(given).__name__}; return arrays in that order"
        ) from error
    for split, (x, y) in found.items():
        for name, each in arrays_of(y).items():
            shape = values_of(each).shape
            if not x.ndim or not shape or len(x) != len(each):
                raise DataError(
                    f"{path}: expected a {name or 'label'} for each example of the {split} split, "
                    f"got arrays of shape {x.shape} and {shape}; return matching arrays"
                )
    if (train := found["train"][0]).shape[1:] != (test := found["test"][0]).shape[1:]:
        raise DataError(
            f"{path}: expected x_train and x_test of one shape, got {train.shape[1:]} and "
            f"{test.shape[1:]}; bring them to one"
        )
    return found


def _task(path: str, named: Any) -> str:
    return registry.named(named).name if isinstance(named, str) else registry.own(path, named)


def _target(given: Any, task: str) -> Any:
    """Targets as they are written; labels are checked where they are read."""
    if task == USUAL or not isinstance(given, Mapping):
        return np.asarray(given)
    return {
        str(name): Ragged.of([np.asarray(rows) for rows in each])
        if isinstance(each, list)
        else np.asarray(each)
        for name, each in given.items()
    }


def identity(given: Given) -> list[Any]:
    """Shapes, types and checksums of the arrays; of another task than that of labels its name.

    Of a file's own task the file, too: what was learnt of the targets, and how, is in it.
    """
    facts: list[Any] = [] if given.task == USUAL else [given.task]
    if is_user_file(given.task):
        facts.append(hashlib.sha256(Path(given.task).read_bytes()).hexdigest())
    for x, y in (given.splits[split] for split in _SPLITS):
        for name, each in {"": x, **{f"y.{name}": a for name, a in arrays_of(y).items()}}.items():
            parts = (each.values, each.offsets) if isinstance(each, Ragged) else (each,)
            facts += [[*_checked(part), *([name] if given.task != USUAL else [])] for part in parts]
    return facts


def _checked(array: Array) -> list[Any]:
    checksum = hashlib.sha256()
    rows = rows_a_chunk(array.nbytes // max(1, len(array)))
    for start in range(0, len(array), rows):
        checksum.update(np.ascontiguousarray(array[start : start + rows]).data)
    return [list(array.shape), str(array.dtype), checksum.hexdigest()]


def load(path: str, given: Given) -> Content:
    """The arrays' examples.

    Raises:
        DataError: shapes or types that mean nothing here.
    """
    where = f"{path}: dataset()"
    x_train, y_train = given.splits["train"]
    learnt = arrays.learnt(where, [y_train], given.task)
    meta = _describe(path, x_train).learning(*learnt)
    if is_user_file(meta.task):
        meta = replace(meta, ending=astuple(head(meta)))
    if meta.kind == "tokens":
        vocabulary = arrays.token_names(where, (given.splits[split][0] for split in _SPLITS))
        meta = replace(meta, vocabulary=vocabulary)
    dtype = np.dtype(meta.input_dtype)
    rows = rows_a_chunk(dtype.itemsize * int(np.prod(meta.input_shape)))

    def chunks() -> Iterator[Chunk]:
        for split in _SPLITS:
            x, y = given.splits[split]
            target = arrays.flat_labels(where, y) if given.task == USUAL else y
            for start in range(0, len(x), rows):
                some = slice(start, start + rows)
                shaped = x[some].reshape(-1, *meta.input_shape).astype(dtype, copy=False)
                yield Chunk(split, shaped, rows_of(target, some))

    return Content(meta, chunks, sum(len(given.splits[split][0]) for split in _SPLITS))


def _describe(path: str, x: Array) -> Meta:
    """The meta of the user's own arrays: shapes and values stay what they are.

    Nothing is scaled or given a channel: the model that they are for is the user's, too, and gets
    what Keras's `fit` would give it.
    """
    shape, kind = x.shape[1:], x.dtype.kind
    if kind in "iu" and x.dtype != np.uint8 and len(shape) == 1:
        return Meta(Path(path).stem, "tokens", shape, "int32", 1.0)
    if kind not in "iuf" or not shape:
        raise DataError(
            f"{path}: dataset(): expected numbers of shape (examples, …), got {x.dtype} of shape "
            f"{x.shape}; convert or reshape them"
        )
    stored = "uint8" if x.dtype == np.uint8 else "float32"
    return Meta(Path(path).stem, "image" if len(shape) == 3 else "sequence", shape, stored, 1.0)
