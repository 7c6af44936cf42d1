"""Promotion: the best candidate against the champion on the same examples, and the registry."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tally.compression.running import Runner
from tally.data.format import Array, Dataset
from tally.errors import DataError, TallyError
from tally.evaluation import drift
from tally.evaluation.registry import Registry, Version, model_name
from tally.evaluation.verdict import Limits, Verdict, decide
from tally.learning.checkpoint import WEIGHTS
from tally.spec import Spec
from tally.steps.measuring import Measured
from tally.steps.step import Step
from tally.tasks import registry as tasks

MODEL = "model.tflite"
_TRIES = 5


@dataclass(frozen=True)
class Contest:
    """What is known for a promotion.

    Attributes:
        asked: the run's parameters.
        dataset: its test split is what both are measured on.
        measured: the candidates.
        evaluation: of the trained model.
        model_folder: with the weights that a later run may start from.
    """

    asked: Spec
    dataset: Dataset
    measured: Sequence[Measured]
    evaluation: dict[str, Any]
    model_folder: Path


def promote(here: Step, contest: Contest) -> dict[str, Any]:
    """Decide, and make the winner champion; of two at once the loser decides anew.

    Returns:
        The verdict as JSON, with `model`, `champion` (the version before, or None), `version` (the
        one promoted, or None) and `drift` against the champion's data.
    """
    registry = Registry()
    model = model_name(here.pipeline, contest.dataset.meta.name)
    version: Version | None = None
    facts: dict[str, Any] = {"model": model, "champion": None, "version": None, "drift": None}
    for _ in range(_TRIES):
        try:
            champion = registry.champion(model)
            held = _records(registry, champion, contest.dataset) if champion else None
        except DataError as error:
            verdict = Verdict(False, "", f"not promoted: {error}")
            return verdict.to_json() | facts
        facts |= {"champion": champion.name if champion else None}
        facts |= {"drift": _drift(champion, contest.dataset)}
        if champion and champion.lineage.get("run") == here.run_id:
            # this step ran before, and was ended after it had promoted
            verdict = Verdict(True, champion.lineage["candidate"], "promoted by this run already")
            return verdict.to_json() | facts | {"version": champion.name}
        verdict = _decided(contest, held)
        if not verdict.promote:
            return verdict.to_json() | facts
        version = version or _add(registry, model, here, contest, verdict, champion)
        if registry.promote(version, champion.name if champion else None, here.run_id):
            return verdict.to_json() | facts | {"version": version.name}
    reason = f"not promoted: others changed the champion of {model} {_TRIES} times meanwhile"
    return Verdict(False, verdict.candidate, reason).to_json() | facts


def _decided(contest: Contest, held: Array | None) -> Verdict:
    asked = contest.asked
    if not asked.promote:
        return Verdict(False, "", "not promoted: promote=false")
    limits = Limits(
        asked.max_model_bytes or None,
        asked.max_latency_seconds or None,
        asked.max_usd_per_million or None,
    )
    contenders = [c for each in contest.measured if (c := each.contender)]
    task = tasks.named(contest.dataset.meta.task)
    return decide(task, contenders, held, limits, asked.promote_margin)


def _records(registry: Registry, champion: Version, dataset: Dataset) -> Array:
    """How good the champion's answers to the test split are."""
    with tempfile.TemporaryDirectory() as folder:
        registry.fetch(champion, Path(folder))
        test = dataset.splits["test"]
        measure = tasks.named(dataset.meta.task).measure(dataset.meta.facts)
        runner = Runner(Path(folder) / MODEL, dataset.meta)
        measure.add(test.targets(), runner.answers(test))
        return measure.records


def _add(
    registry: Registry,
    model: str,
    here: Step,
    contest: Contest,
    verdict: Verdict,
    champion: Version | None,
) -> Version:
    """Keep the winner as a version."""
    (chosen,) = [m for m in contest.measured if m.candidate.recipe.name == verdict.candidate]
    assert chosen.candidate.file is not None
    dataset = contest.dataset
    x, strata, count = _sample(dataset)
    lineage = {
        "run": here.run_id,
        "pipeline": here.pipeline,
        "model": contest.asked.model,
        "candidate": verdict.candidate,
        "made": dict(chosen.candidate.lineage),
        "dataset": {
            "name": dataset.meta.name,
            "fingerprint": dataset.fingerprint,
            "snapshot": contest.asked.snapshot,
            "distribution": drift.distribution(x, strata, count),
            "reading": dict(dataset.meta.reading),
        },
        "metrics": {k: v for k, v in chosen.row.items() if k not in ("lineage", "front", "failed")},
        "verdict": verdict.to_json(),
        "champion": champion.name if champion else None,
        "bill_usd": _spent_usd(here),
    }
    files = {MODEL: chosen.candidate.file, WEIGHTS: contest.model_folder / WEIGHTS}
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "evaluation.json"
        page.write_text(json.dumps(contest.evaluation))
        return registry.add(model, files | {page.name: page}, lineage)


def _drift(champion: Version | None, dataset: Dataset) -> dict[str, Any] | None:
    """How far this run's training data is from the champion's."""
    before = (champion.lineage.get("dataset") or {}).get("distribution") if champion else None
    if not before:
        return None
    return drift.drift(before, *_sample(dataset))


def _sample(dataset: Dataset) -> tuple[Array, Array, int]:
    """Some training examples, evenly over the split; what each of all is of, and of how many."""
    train, task = dataset.splits["train"], tasks.named(dataset.meta.task)
    rows = np.unique(np.linspace(0, len(train) - 1, drift.SAMPLE).astype(np.int64))
    strata = task.stratify(train.targets()) if task.strata(dataset.meta.facts) else None
    found = np.empty(0, np.int64) if strata is None else strata
    return train.gather(rows)[0], found, len(task.strata(dataset.meta.facts))


def _spent_usd(here: Step) -> float | None:
    """What the run cost so far; None where that is not known here: the bill says it."""
    if here.run.on_cluster:
        return None
    from tally.costing.ledger import open_ledger

    try:
        return float(open_ledger().bill(here.run_id).total_usd)
    except TallyError:
        return None
