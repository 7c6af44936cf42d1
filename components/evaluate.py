"""Measure the model on the split that training never saw."""

from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from components.component import component


@component
def evaluate(
    dataset_folder: Input[Dataset],
    spec: dict,
    model: Input[Model],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    page: Output[HTML],
):
    """The model and its smaller candidates on the test split; the best may become champion."""
    from tally.steps.image import require

    require("evaluate")
    from tally.steps.evaluate import run

    evaluation = run(dataset_folder.path, spec, model.path, page.path)
    if not evaluation:
        return
    for name in ("test_accuracy", "test_loss", "macro_f1"):
        metrics.log_metric(name, evaluation[name])
    for name, (low, high) in evaluation["intervals"].items():
        metrics.log_metric(f"{name}_low", low)
        metrics.log_metric(f"{name}_high", high)
    metrics.log_metric("calibration_error", evaluation["calibration"]["error"])
    if verdict := evaluation["verdict"]:
        metrics.log_metric("promoted", float(verdict["version"] is not None))
    confusion.log_confusion_matrix(evaluation["class_names"], evaluation["confusion"])
