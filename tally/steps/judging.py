"""The trained model and its candidates judged: measured on the test split, the best promoted."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tally.compression import making
from tally.compression.converter import Converter
from tally.compression.making import Candidate
from tally.compression.recipe import parse_all
from tally.compression.tuning import Tuning
from tally.data.format import Dataset
from tally.models import registry as models
from tally.spec import Spec
from tally.steps import measuring
from tally.steps.comparing import compared
from tally.steps.promoting import Contest, promote
from tally.steps.step import Step
from tally.storage import atomic_file
from tally.tasks import registry

SCHEMA = 2  # of an evaluation whose task says none
_TOLD = ("promote", "candidate", "reason", "model", "version")


def judge(
    here: Step,
    asked: Spec,
    dataset: Dataset,
    model_folder: Path,
    page: Path,
    candidates: Callable[[Any], Sequence[Candidate]],
) -> dict[str, Any]:
    """Measure the trained model and its candidates, promote, and write evaluation.json and page.

    Args:
        here: the step.
        asked: the run's parameters.
        dataset: its test split was never trained on.
        model_folder: from train.
        page: where the HTML artifact goes.
        candidates: of the loaded model.

    Returns:
        The task's measures, with `baseline` (of tally.steps.comparing), `candidates` (rows of
        tally.steps.measuring), `verdict` (of tally.steps.promoting; None without candidates),
        `seconds`, and what tally.tasks.registry keeps beside them.
    """
    from tally.learning.tensorflow import predict

    began, test = time.monotonic(), dataset.splits["test"]
    here.event("progress", done=0, total=len(test), unit="examples")
    model = predict.load(asked.model, dataset.meta, model_folder)
    task, tell = registry.named(dataset.meta.task), _teller(here)
    measure = task.measure(dataset.meta.facts)
    measure.add(test.targets(), predict.answers(model, test, dataset.meta))
    found = {"schema": SCHEMA, "task": dataset.meta.task, **measure.result()}
    if asked.baseline:
        tell(f"baseline {asked.baseline}", 0, 1)
    found["baseline"] = compared(asked.baseline, dataset, measure.records)
    made, closed = candidates(model), models.cost(asked.model, dataset.meta)
    flops = closed.forward_flops if closed else None
    measured = measuring.measure(
        made, dataset, flops, lambda done: tell("measuring", done, len(made))
    )
    found["candidates"] = [each.row for each in measured]
    found["verdict"] = None
    if measured:
        found["verdict"] = _promoted(here, Contest(asked, dataset, measured, found, model_folder))
    found["seconds"] = time.monotonic() - began
    found |= registry.keep_evaluation(dataset.meta.task, found)
    _keep(found, here.folder / "evaluation.json", page)
    here.measured({name: found[name] for name in task.reported})
    here.event("progress", done=len(test), total=len(test), unit="examples")
    return found


def _promoted(here: Step, contest: Contest) -> dict[str, Any]:
    """The verdict, told to the ledger too."""
    verdict = promote(here, contest)
    here.decided("verdict", **{key: verdict[key] for key in _TOLD})
    return verdict


def _keep(found: dict[str, Any], document: Path, page: Path) -> None:
    """Write an evaluation, for programs and for people."""
    from tally.reports.artifacts import evaluation_html

    with atomic_file(document) as file:
        file.write(json.dumps(found).encode())
    with atomic_file(page) as file:
        file.write(evaluation_html(found).encode())


def make(
    here: Step,
    asked: Spec,
    dataset: Dataset,
    model: Any,
    folder: Path,
    converter: Converter,
) -> list[Candidate]:
    """The candidates that the run asks for, in a folder; none is fine."""
    recipes = parse_all(asked.candidates)
    if not recipes:
        return []
    lineage = {
        "run": here.run_id,
        "model": asked.model,
        "dataset": dataset.meta.name,
        "fingerprint": dataset.fingerprint,
    }
    how, tell = Tuning(asked.tuning_epochs, seed=asked.seed), _teller(here)
    return making.make(
        model, dataset, recipes, folder, how=how, converter=converter, lineage=lineage, told=tell
    )


def _teller(here: Step) -> Callable[[str, int, int], None]:
    """Says how far something is, as progress of the step."""

    def tell(what: str, done: int, total: int) -> None:
        here.event("progress", done=done, total=total, unit=f"of {what}")

    return tell
