"""Make smaller models of a trained one: for chains whose evaluate is another."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.component import component


@component
def compress(
    dataset_folder: Input[Dataset],
    spec: dict,
    model: Input[Model],
    smaller: Output[Model],
    metrics: Output[Metrics],
):
    """The spec's candidates as .tflite files, each with what it was made by."""
    from tally.steps.image import require

    require("compress")
    from tally.steps.compress import run

    made = run(dataset_folder.path, spec, model.path, smaller.path)
    for name, size in made.items():
        metrics.log_metric(f"{name}_bytes", size)
