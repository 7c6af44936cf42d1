"""Promote the best of the models that compress made: for chains whose evaluate is another."""

from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.component import component


@component
def promote(
    dataset_folder: Input[Dataset],
    spec: dict,
    model: Input[Model],
    smaller: Input[Model],
    metrics: Output[Metrics],
    page: Output[HTML],
):
    """Measure them on the test split, and make the best champion where it beats the champion."""
    from tally.steps.image import require

    require("promote")
    from tally.steps.promote import run

    evaluation = run(dataset_folder.path, spec, model.path, smaller.path, page.path)
    if evaluation and (verdict := evaluation["verdict"]):
        metrics.log_metric("promoted", float(verdict["version"] is not None))
