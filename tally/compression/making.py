"""Candidates out of one trained model: trained on where the recipe prunes, converted, weighed."""

import contextlib
import gzip
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tally.compression import saved, structured, tuning
from tally.compression.converter import Converter, Job
from tally.compression.recipe import Recipe, parse
from tally.compression.running import taken
from tally.compression.tuning import Tuning
from tally.data.format import Dataset
from tally.errors import DataError, TallyError, check_schema
from tally.storage import atomic_file

SAVED = "saved_model"
CALIBRATION = 200  # training examples
SCHEMA, DESCRIPTION = 1, "candidates.json"


@dataclass(frozen=True)
class Candidate:
    """What a recipe made.

    Attributes:
        recipe: how.
        file: the .tflite; None where it failed.
        failed: why, in one line; "" for made.
        bytes, compressed_bytes: of the file, and of the same under gzip, which is where zeros
            that pruning leaves count.
        parameters: numbers in the model that it was converted from.
        sparsity: the share of them that are zero.
        lineage: what it descends from and by which settings.
    """

    recipe: Recipe
    file: Path | None
    failed: str = ""
    bytes: int = 0
    compressed_bytes: int = 0
    parameters: int = 0
    sparsity: float = 0.0
    lineage: dict[str, Any] = field(default_factory=dict)


def make(
    model: Any,
    dataset: Dataset,
    recipes: Sequence[Recipe],
    folder: Path,
    *,
    how: Tuning,
    converter: Converter,
    lineage: dict[str, Any],
    told: Callable[[str, int, int], None] = lambda what, done, total: None,
    unroll: bool = True,
) -> list[Candidate]:
    """Make each candidate; one that fails says why and hinders no other.

    Args:
        model: trained; left as it is.
        dataset: its training split calibrates and goes on training; test is not read.
        recipes: in the order of the result.
        folder: of the .tflite files; saved_model/{base} in it gets a SavedModel of each base, of
            the model itself as saved_model/model.
        how: training goes on.
        converter: of all of them.
        lineage: of the model: run, dataset, fingerprint.
        told: gets what is being done, and (done, of how many).
        unroll: recurrent layers, as the converter needs them in full int8.
    """
    with _work_in(folder) as work:
        calibration = work / "calibration.npy"
        np.save(calibration, _calibration(dataset), allow_pickle=False)
        jobs: list[Job] = []
        made: dict[str, Candidate] = {}
        for base in dict.fromkeys(recipe.base for recipe in recipes):
            ours = [recipe for recipe in recipes if recipe.base == base]
            place = folder / SAVED / (base or "model")
            with _left_as_it_is(model):
                try:
                    found = _based(model, ours[0], dataset, how, told)
                except (TallyError, ValueError) as error:
                    made |= {r.name: Candidate(r, None, failed=str(error)) for r in ours}
                    continue
                made |= _unconverted(ours, found, lineage | _settings(ours[0], how))
                saved.save(found, dataset.meta, place, unroll=unroll)
            jobs += _jobs(ours, base, place, calibration, folder, work)
        done = iter(range(1, len(jobs) + 1))
        why = converter.convert(jobs, lambda job, _: told("convert", next(done), len(jobs)))
        found = [_ended(made[r.name], folder / f"{r.name}.tflite", why) for r in recipes]
        _keep(found, folder)
        return found


@contextlib.contextmanager
def _work_in(folder: Path) -> Iterator[Path]:
    """A folder in that one for what is only on the way; what earlier makings left goes first."""
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / ".work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(folder / SAVED, ignore_errors=True)
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _left_as_it_is(model: Any) -> Iterator[None]:
    """It is trained on itself, since no subclass of Model need be one that Keras can copy."""
    weights = model.get_weights()
    try:
        yield
    finally:
        model.set_weights(weights)


def read(folder: Path) -> list[Candidate]:
    """The candidates that `make` left in a folder.

    Raises:
        DataError: there are none, or what describes them is damaged.
        SchemaError: a newer Tally made them.
    """
    path = folder / DESCRIPTION
    try:
        document = json.loads(path.read_bytes())
        check_schema(str(path), int(document["schema"]), SCHEMA)
        return [
            Candidate(
                **{
                    **row,
                    "recipe": parse(row["recipe"]),
                    "file": folder / row["file"] if row["file"] else None,
                }
            )
            for row in document["candidates"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected the candidates that compress made, got {type(error).__name__}; "
            "run the compress step again"
        ) from error


def _keep(candidates: Sequence[Candidate], folder: Path) -> None:
    """Leave beside the files what each was made by."""
    rows = [
        {
            **{f.name: getattr(candidate, f.name) for f in fields(candidate)},
            "recipe": candidate.recipe.name,
            "file": candidate.file.name if candidate.file else None,
        }
        for candidate in candidates
    ]
    with atomic_file(folder / DESCRIPTION) as file:
        file.write(json.dumps({"schema": SCHEMA, "candidates": rows}, indent=1).encode())


def _based(
    model: Any,
    recipe: Recipe,
    dataset: Dataset,
    how: Tuning,
    told: Callable[[str, int, int], None],
) -> Any:
    """The model that the recipe's quantisation is applied to; but for structured that model."""
    if not recipe.pruning:
        return model
    made = model
    if recipe.pruning == "structured":
        made = structured.smaller(model, recipe.percent)
        if getattr(model, "optimizer", None) is not None:
            made.compile(optimizer="adam", loss=model.loss)
    split = dataset.splits["train"]
    tuning.prune(
        made, recipe, split, dataset.meta, how,
        lambda done, total: told(recipe.base, done, total),
    )  # fmt: skip
    return made


def _jobs(
    recipes: Iterable[Recipe], base: str, place: Path, calibration: Path, folder: Path, work: Path
) -> list[Job]:
    """The conversions of one base, the float32 that others start from first."""
    wanted: dict[str, Path] = {
        recipe.quantisation: folder / f"{recipe.name}.tflite" for recipe in recipes
    }
    float_file = wanted.get("float32", work / f"{base or 'model'}.tflite")
    if {"weights8", "weights4"} & set(wanted):
        wanted = {"float32": float_file} | wanted
    order = sorted(wanted, key=lambda quantisation: quantisation != "float32")
    return [
        Job(str(place), each, str(calibration), str(float_file), str(wanted[each]))
        for each in order
    ]


def _unconverted(
    recipes: Iterable[Recipe], model: Any, lineage: dict[str, Any]
) -> dict[str, Candidate]:
    """The candidates of one base before they are converted, by name."""
    parameters, sparsity = _weigh(model)
    return {
        recipe.name: Candidate(
            recipe,
            None,
            parameters=parameters,
            sparsity=sparsity,
            lineage=lineage | {"quantisation": recipe.quantisation},
        )
        for recipe in recipes
    }


def _ended(candidate: Candidate, file: Path, why: dict[str, str]) -> Candidate:
    if candidate.failed:
        return candidate
    if failed := why[str(file)]:
        return replace(candidate, failed=failed)
    content = file.read_bytes()
    packed = len(gzip.compress(content, 6, mtime=0))
    return replace(candidate, file=file, bytes=len(content), compressed_bytes=packed)


def _weigh(model: Any) -> tuple[int, float]:
    """Parameters, and the share of them that are zero; biases begin at zero and count too."""
    values = [w.numpy() for w in model.weights if w.numpy().dtype.kind == "f"]
    count = sum(v.size for v in values)
    zeros = sum(int((v == 0).sum()) for v in values)
    return count, zeros / max(count, 1)


def _settings(recipe: Recipe, how: Tuning) -> dict[str, Any]:
    if not recipe.pruning:
        return {"pruning": "", "percent": 0}
    return {
        "pruning": recipe.pruning,
        "percent": recipe.percent,
        "tuning_epochs": how.epochs,
        "tuning_learning_rate": how.learning_rate,
        "tuning_batch_size": how.batch_size,
        "tuning_seed": how.seed,
    }


def _calibration(dataset: Dataset) -> Any:
    """Training examples spread evenly over the split."""
    split = dataset.splits["train"]
    rows = np.unique(np.linspace(0, len(split) - 1, CALIBRATION).astype(np.int64))
    return taken(split.gather(rows)[0], dataset.meta)
