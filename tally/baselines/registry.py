"""Baselines by name, and their answers, which are made once for a dataset and then kept."""

import difflib
import importlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from tally import storage
from tally.baselines import Answers
from tally.data.format import Array, Dataset, Meta
from tally.errors import SpecError
from tally.evaluation import shelf
from tally.storage import Location

SCHEMA = 1
_NOT_BASELINES = ("__init__", "registry")


class _Baseline(Protocol):
    VERSION: int

    def check(self, meta: Meta) -> None: ...

    def usual_seconds(self, dataset: Dataset) -> float: ...

    def answers(self, dataset: Dataset) -> Answers: ...


@dataclass(frozen=True)
class Answered:
    """A baseline's answers, and what they cost now.

    Attributes:
        described: as Answers.
        predicted: as Answers.
        seconds: that making them took, now or when they were made.
        kept: whether they were there already.
    """

    described: str
    predicted: Array
    seconds: float
    kept: bool


def names() -> list[str]:
    """The baselines: every other file of this folder is one."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if file.stem not in _NOT_BASELINES)


def find(name: str) -> None:
    """Refuse a baseline that is not there; "" is none.

    Raises:
        SpecError: no such baseline; the nearest is named.
    """
    if name and name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else "leave it empty for none"
        raise SpecError(f"baseline: expected one of {', '.join(names())}, got {name}; {hint}")


def check(name: str, meta: Meta) -> None:
    """Say whether baseline `name` exists and suits the dataset; "" is none.

    Raises:
        SpecError: no such baseline.
        DataError: it does not suit the dataset.
    """
    find(name)
    if name:
        _baseline(name).check(meta)


def missing_seconds(name: str, dataset: Dataset) -> float:
    """What making its answers will take: 0 where there is no baseline, or they are kept."""
    if not name or shelf.read(_place(name, dataset)) is not None:
        return 0.0
    return _baseline(name).usual_seconds(dataset)


def answered(name: str, dataset: Dataset) -> Answered:
    """The answers of baseline `name` for the dataset's test split, kept or made and then kept.

    Raises:
        RunError: the disk is full, or the store does not answer.
    """
    place, version = _place(name, dataset), _baseline(name).VERSION
    kept = shelf.read(place)
    if kept is not None and (found := _read(kept[0], len(dataset.splits["test"]))):
        return found
    began = time.monotonic()
    made = _baseline(name).answers(dataset)
    seconds = time.monotonic() - began
    document = {
        "schema": SCHEMA,
        "baseline": name,
        "version": version,
        "fingerprint": dataset.fingerprint,
        "described": made.described,
        "predicted": made.predicted.tolist(),
        "seconds": seconds,
    }
    if isinstance(place, Path):
        with storage.disk(place):
            place.parent.mkdir(parents=True, exist_ok=True)
    shelf.swap(place, json.dumps(document).encode(), kept[1] if kept else "")
    return Answered(made.described, made.predicted, seconds, False)


def _read(content: bytes, examples: int) -> Answered | None:
    """What was kept; None where it is damaged or a newer Tally's: it is made again."""
    try:
        document = json.loads(content)
        predicted = np.asarray(document["predicted"], np.int64)
        if document["schema"] != SCHEMA or predicted.shape != (examples,):
            return None
        return Answered(document["described"], predicted, float(document["seconds"]), True)
    except (ValueError, KeyError, TypeError):
        return None


def _place(name: str, dataset: Dataset) -> Location:
    file = f"{name}-{_baseline(name).VERSION}-{dataset.fingerprint[:32]}.json"
    return storage.store() / "baselines" / file


def _baseline(name: str) -> _Baseline:
    return cast(_Baseline, importlib.import_module(f"tally.baselines.{name}"))
