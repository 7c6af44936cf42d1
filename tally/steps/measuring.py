"""Each candidate measured on the test split: how right, how large, how fast, at what cost."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tally.compression.making import Candidate
from tally.compression.running import Runner
from tally.data.format import Array, Dataset
from tally.errors import DataError
from tally.evaluation import latency, pareto
from tally.evaluation.verdict import Contender
from tally.machines.catalogue import machine
from tally.tasks import registry
from tally.tasks.task import Headline

BATCH = 32
AXES = ("latency", "bytes", "cost")


@dataclass(frozen=True)
class Measured:
    """A candidate, its row of evaluation.json, and the records of its answers."""

    candidate: Candidate
    row: dict[str, Any]
    records: Array | None

    @property
    def contender(self) -> Contender | None:
        """As the verdict takes it; None where it failed."""
        if self.records is None:
            return None
        row = self.row
        seconds = row["latency"]["batch_1"]["median_seconds"]
        name = self.candidate.recipe.name
        return Contender(name, self.records, row["bytes"], seconds, row["usd_per_million"])


def core_usd_per_hour() -> float:
    """What an hour of one core of this machine costs: a prediction keeps one busy."""
    local = machine("local")
    return float(local.price_usd_per_hour + local.software_usd_per_hour) / (os.cpu_count() or 1)


def measure(
    candidates: Sequence[Candidate],
    dataset: Dataset,
    flops: int | None,
    told: Callable[[int], None] = lambda done: None,
) -> list[Measured]:
    """Measure each candidate; one that cannot be run has failed and says why.

    Args:
        candidates: as they were made.
        dataset: its test split.
        flops: of one prediction of the whole model, where there is a closed form.
        told: gets how many are done.
    """
    price, found = core_usd_per_hour(), []
    for done, candidate in enumerate(candidates):
        found.append(_one(candidate, dataset, price, flops))
        told(done + 1)
    _mark_front(found, registry.named(dataset.meta.task).headline)
    return found


def _one(candidate: Candidate, dataset: Dataset, price: float, flops: int | None) -> Measured:
    recipe = candidate.recipe
    row: dict[str, Any] = {
        "name": recipe.name,
        "failed": candidate.failed or None,
        "lineage": dict(candidate.lineage),
    }
    if candidate.file is None:
        return Measured(candidate, row, None)
    test, task = dataset.splits["test"], registry.named(dataset.meta.task)
    measure = task.measure(dataset.meta.facts)
    try:
        runner = Runner(candidate.file, dataset.meta)
        measure.add(test.targets(), runner.answers(test))
        measures = measure.result()
    except (DataError, RuntimeError, ValueError) as error:
        row["failed"] = " ".join(str(error).split())[:300]
        return Measured(candidate, row, None)
    times = {f"batch_{n}": _latency(runner, dataset, n) for n in (1, BATCH)}
    seconds = times["batch_1"]["median_seconds"]
    own = task.row(measures)
    row |= own | registry.keep_row(dataset.meta.task, own)
    row |= {
        "bytes": candidate.bytes,
        "compressed_bytes": candidate.compressed_bytes,
        "parameters": candidate.parameters,
        "sparsity": candidate.sparsity,
        # taking units out changes them; nothing has a closed form of what is left
        "flops": None if recipe.pruning == "structured" else flops,
        "latency": times,
        "usd_per_million": latency.usd_per_million(seconds, 1, price),
        "front": [],
    }
    return Measured(candidate, row, measure.records)


def _latency(runner: Runner, dataset: Dataset, batch: int) -> dict[str, float]:
    test = dataset.splits["test"]
    x = test.gather(np.arange(batch) % len(test))[0]
    found = latency.measure(lambda: runner.batch(x))
    return {
        "median_seconds": found.median_seconds,
        "p95_seconds": found.p95_seconds,
        "calls": found.calls,
    }


def cost(row: Mapping[str, Any], axis: str) -> float:
    """What a row costs along one of AXES."""
    if axis == "latency":
        return float(row["latency"]["batch_1"]["median_seconds"])
    return float(row["bytes"] if axis == "bytes" else row["usd_per_million"])


def _mark_front(found: Sequence[Measured], headline: Headline) -> None:
    """Say in each row on which axes nothing beats it."""
    rows = [each.row for each in found if each.records is not None]
    good = [headline.better(row[headline.name]) for row in rows]
    for axis in AXES:
        costs = [cost(row, axis) for row in rows]
        for row, on in zip(rows, pareto.front(good, costs), strict=True):
            if on:
                row["front"].append(axis)
