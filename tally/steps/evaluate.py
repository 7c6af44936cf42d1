"""evaluate: measure the model and smaller ones on data that training never saw; promote one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tally.compression.converter import Converter
from tally.data.format import open_dataset
from tally.spec import Spec
from tally.steps import artifacts
from tally.steps.judging import judge, make
from tally.steps.new_data import passed
from tally.steps.step import step
from tally.tasks import registry


def run(dataset_folder: str, spec: dict[str, Any], model_folder: str, page: str) -> dict[str, Any]:
    """The evaluate step.

    Args:
        dataset_folder: from prepare.
        spec: the validated parameters.
        model_folder: from train.
        page: where the HTML artifact goes.

    Returns:
        The evaluation, as tally.steps.judging makes it; {} where nothing was trained.
    """
    from tally.reports.artifacts import nothing_html

    with step("evaluate") as here:
        if why := passed(spec):
            Path(page).write_text(nothing_html(why))
            here.event("progress", done=1, total=1, unit="examples")
            return {}
        dataset = open_dataset(artifacts.dataset_folder(dataset_folder), verify=["test"])
        asked, folder = Spec.model_validate(spec), here.folder / "candidates"
        with Converter(ahead=bool(asked.candidates)) as converter:
            return judge(
                here, asked, dataset, Path(model_folder), Path(page),
                lambda model: make(here, asked, dataset, model, folder, converter),
            )  # fmt: skip


def numbers(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """What Kubeflow's Metrics show of an evaluation."""
    task = registry.named(evaluation["task"])
    found = {name: evaluation[name] for name in task.reported}
    for name, (low, high) in evaluation["intervals"].items():
        found |= {f"{name}_low": low, f"{name}_high": high}
    row = task.row(evaluation)
    found |= {k: v for k, v in row.items() if isinstance(v, float) and k not in found}
    if verdict := evaluation["verdict"]:
        found["promoted"] = float(verdict["version"] is not None)
    return found


def chart(evaluation: Mapping[str, Any], artifact: Any) -> None:
    """Draw what Kubeflow's ClassificationMetrics can show of an evaluation."""
    registry.named(evaluation["task"]).chart(evaluation, artifact)
