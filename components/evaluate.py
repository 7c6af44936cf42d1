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
    """Accuracy, loss, macro F1 and the confusion matrix on the test split."""
    from tally.steps.image import require

    require("evaluate")
    from tally.steps.evaluate import run

    evaluation = run(dataset_folder.path, spec, model.path, page.path)
    for name in ("test_accuracy", "test_loss", "macro_f1"):
        metrics.log_metric(name, evaluation[name])
    confusion.log_confusion_matrix(evaluation["class_names"], evaluation["confusion"])
