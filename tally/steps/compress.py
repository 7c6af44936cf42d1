"""compress: smaller models of a trained one, for chains whose evaluate is another."""

from pathlib import Path
from typing import Any

from tally.compression.converter import Converter
from tally.data.format import open_dataset
from tally.spec import Spec
from tally.steps import artifacts
from tally.steps.judging import make
from tally.steps.new_data import passed
from tally.steps.step import step


def run(
    dataset_folder: str, spec: dict[str, Any], model_folder: str, folder: str
) -> dict[str, int]:
    """The compress step.

    Args:
        dataset_folder: from prepare.
        spec: the validated parameters.
        model_folder: from train.
        folder: where the candidates and their candidates.json go.

    Returns:
        The bytes of each that was made, by name; {} where nothing was trained.
    """
    from tally.learning.tensorflow import predict

    with step("compress") as here:
        if passed(spec):
            here.event("progress", done=0, total=0, unit="candidates")
            return {}
        dataset = open_dataset(artifacts.dataset_folder(dataset_folder), verify=["train"])
        asked = Spec.model_validate(spec)
        with Converter() as converter:
            model = predict.load(asked.model, dataset.meta, Path(model_folder))
            made = make(here, asked, dataset, model, Path(folder), converter)
        here.event("progress", done=len(made), total=len(made), unit="candidates")
    return {each.recipe.name: each.bytes for each in made if not each.failed}
