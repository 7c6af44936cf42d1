"""Measure the model on the split that training never saw."""

from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from components.component import component


@component
def evaluate(
    dataset_folder: Input[Dataset],
    spec: dict,
    model: Input[Model],
    metrics: Output[Metrics],
    classes: Output[ClassificationMetrics],
    page: Output[HTML],
):
    """The model and its smaller candidates on the test split; the best may become champion."""
    from tally.steps.image import require

    require("evaluate")
    from tally.steps.evaluate import chart, numbers, run

    evaluation = run(dataset_folder.path, spec, model.path, page.path)
    if not evaluation:
        return
    for name, value in numbers(evaluation).items():
        metrics.log_metric(name, value)
    chart(evaluation, classes)
