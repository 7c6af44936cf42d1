"""Models compressed and evaluated outside of a run."""

import gzip
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tally import storage
from tally.compression import making
from tally.compression.converter import Converter
from tally.compression.making import Candidate
from tally.compression.recipe import parse, parse_all
from tally.compression.tuning import Tuning
from tally.costing.ledger import open_ledger
from tally.data import registry as datasets
from tally.data.format import Dataset, open_dataset
from tally.errors import DataError, SpecError
from tally.evaluation.registry import Registry
from tally.models import registry as models
from tally.runs.listing import find
from tally.spec import Spec, validate
from tally.steps.measuring import measure
from tally.steps.promoting import MODEL


def compress(
    run: str,
    settings: Mapping[str, str],
    out: Path | None,
    told: Callable[[str, int, int], None],
) -> tuple[list[dict[str, Any]], Path]:
    """Make the candidates of a run's model again, or others, and measure them.

    Args:
        run: its id.
        settings: parameters that differ from the run's: candidates, tuning_epochs, seed.
        out: folder of the .tflite files; the run's own without it.
        told: progress.

    Returns:
        Rows of tally.steps.measuring, and the folder.

    Raises:
        SpecError: no such run, or a parameter that is wrong.
        DataError: the run left no model, or its data is gone.
    """
    from tally.learning.tensorflow import predict

    record = find(open_ledger(), run)
    spec = validate("compress", {**record.spec, **settings})
    recipes = parse_all(spec.candidates)
    if not recipes:
        raise SpecError('candidates: expected one or more, got none; pass SET="candidates=int8"')
    dataset = _dataset(spec)
    folder = out or storage.run_folder(record.id) / "candidates"
    lineage = {
        "run": record.id,
        "model": spec.model,
        "dataset": dataset.meta.name,
        "fingerprint": dataset.fingerprint,
    }
    how = Tuning(spec.tuning_epochs, seed=spec.seed)
    with Converter() as converter:
        model = predict.load(spec.model, dataset.meta, storage.run_folder(record.id) / "model")
        made = making.make(
            model, dataset, recipes, folder,
            how=how, converter=converter, lineage=lineage, told=told,
        )  # fmt: skip
    closed = models.cost(spec.model, dataset.meta)
    found = measure(made, dataset, closed.forward_flops if closed else None)
    return [each.row for each in found], folder


def evaluate(model: str, data: str) -> dict[str, Any]:
    """Measure one model on a dataset's test split.

    Args:
        model: a .tflite file, a run's id (its float32 candidate), or a model of the registry (its
            champion).
        data: a dataset's name, path or URL.

    Returns:
        A row of tally.steps.measuring.

    Raises:
        SpecError: no such model or dataset.
        DataError: they do not fit, or are damaged.
    """
    path = Path(model).expanduser()
    if path.suffix == ".tflite" or path.is_file():
        if not path.is_file():
            raise SpecError(f"{model}: expected a .tflite file, got none; check the path")
        return _row(path, path.name, _dataset(validate("evaluate", {"dataset": data})), {})
    registry = Registry()
    if model in registry.models():
        champion = registry.champion(model)
        if champion is None:
            raise SpecError(f"{model}: expected a champion, got none yet; see `tally champion`")
        name = str(champion.lineage.get("model", "cnn"))
        asked = validate("evaluate", {"dataset": data, "model": name})
        dataset = _dataset(asked.read_as(champion.lineage.get("dataset", {}).get("reading", {})))
        with tempfile.TemporaryDirectory() as folder:
            registry.fetch(champion, Path(folder))
            facts = {"model": model, "version": champion.name}
            return _row(Path(folder) / MODEL, champion.name, dataset, facts)
    record = find(open_ledger(), model)
    spec = validate("evaluate", {**record.spec, "dataset": data})
    with tempfile.TemporaryDirectory() as folder:
        rows, _ = compress(
            record.id,
            {"candidates": "float32"},
            Path(folder),
            lambda what, done, total: None,
        )
        if rows[0]["failed"]:
            raise DataError(f"{record.id}: expected a model that converts, got {rows[0]['failed']}")
        reading = _dataset(validate("evaluate", record.spec)).meta.reading
        dataset = _dataset(spec.read_as(reading))
        return _row(Path(folder) / "float32.tflite", record.id, dataset, {"run": record.id})


def _dataset(spec: Spec) -> Dataset:
    folder, _ = datasets.prepare(spec)
    return open_dataset(folder, verify=["test"])


def _row(file: Path, name: str, dataset: Dataset, facts: Mapping[str, Any]) -> dict[str, Any]:
    content = file.read_bytes()
    packed = len(gzip.compress(content, 6, mtime=0))
    candidate = Candidate(
        parse("float32"), file, bytes=len(content), compressed_bytes=packed, lineage=dict(facts)
    )
    (found,) = measure([candidate], dataset, None)
    if found.row["failed"]:
        raise DataError(str(found.row["failed"]))
    return found.row | {"name": name, "parameters": None, "sparsity": None}
