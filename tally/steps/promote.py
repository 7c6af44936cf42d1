"""promote: the best of the models that compress made, for chains whose evaluate is another."""

from pathlib import Path
from typing import Any

from tally.compression import making
from tally.data.format import open_dataset
from tally.spec import Spec
from tally.steps import artifacts
from tally.steps.judging import judge
from tally.steps.new_data import passed
from tally.steps.step import step


def run(
    dataset_folder: str, spec: dict[str, Any], model_folder: str, folder: str, page: str
) -> dict[str, Any]:
    """The promote step.

    Args:
        dataset_folder: from prepare.
        spec: the validated parameters.
        model_folder: from train.
        folder: from compress.
        page: where the HTML artifact goes.

    Returns:
        The evaluation, as tally.steps.judging makes it; {} where nothing was trained.
    """
    from tally.reports.artifacts import nothing_html

    with step("promote") as here:
        if why := passed(spec):
            Path(page).write_text(nothing_html(why))
            here.event("progress", done=1, total=1, unit="examples")
            return {}
        dataset = open_dataset(artifacts.dataset_folder(dataset_folder), verify=["test"])
        asked = Spec.model_validate(spec)
        return judge(
            here, asked, dataset, Path(model_folder), Path(page),
            lambda model: making.read(Path(folder)),
        )  # fmt: skip
