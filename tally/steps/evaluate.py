"""evaluate: measure the model on the split that training never saw."""

import json
import time
from pathlib import Path
from typing import Any

from tally.data.format import open_dataset
from tally.evaluation.metrics import classification
from tally.spec import Spec
from tally.steps import artifacts
from tally.steps.step import step
from tally.storage import atomic_file


def run(dataset_folder: str, spec: dict[str, Any], model_folder: str, page: str) -> dict[str, Any]:
    """The evaluate step.

    Args:
        dataset_folder: from prepare.
        spec: the validated parameters.
        model_folder: from train.
        page: where the HTML artifact goes.

    Returns:
        The evaluation, as `tally.evaluation.metrics.classification` makes it, with `seconds`.
    """
    from tally.reports.artifacts import evaluation_html

    with step("evaluate") as here:
        began = time.monotonic()
        dataset = open_dataset(artifacts.dataset_folder(dataset_folder), verify=["test"])
        test = dataset.splits["test"]
        here.event("progress", done=0, total=len(test), unit="examples")

        from tally.training import predict

        asked = Spec.model_validate(spec)
        model = predict.load(asked.model, dataset.meta, Path(model_folder))
        probabilities = predict.probabilities(model, test, dataset.meta)
        measured = classification(test.labels(), probabilities, dataset.meta.class_names)
        measured["seconds"] = time.monotonic() - began
        with atomic_file(here.folder / "evaluation.json") as file:
            file.write(json.dumps(measured).encode())
        with atomic_file(Path(page)) as file:
            file.write(evaluation_html(measured).encode())
        names = ("test_accuracy", "test_loss", "macro_f1")
        here.measured({name: measured[name] for name in names})
        here.event("progress", done=len(test), total=len(test), unit="examples")
    return measured
