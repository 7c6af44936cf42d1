"""Train the model; the step's process is the conductor of its workers."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.component import component


@component
def train(
    dataset_folder: Input[Dataset],
    spec: dict,
    model: Output[Model],
    metrics: Output[Metrics],
    plan: dict = {},  # noqa: B006  Kubeflow reads the default; a chain without a plan step
):
    """Train to the spec's epochs as planned, from the run's last checkpoint if there is one."""
    from tally.steps.image import require

    require("train")
    from tally.steps.artifacts import leave_model
    from tally.steps.train import run

    trained = run(dataset_folder.path, spec, plan)
    leave_model(trained.run, model, trained.folder, trained.facts)
    for name, value in trained.facts.items():
        metrics.log_metric(name, value)
