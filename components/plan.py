"""Say what the run will cost at every size, and choose where and how big it begins."""

from kfp.dsl import HTML, Dataset, Input, Metrics, Output

from components.component import component


@component
def plan(
    dataset_folder: Input[Dataset], spec: dict, metrics: Output[Metrics], page: Output[HTML]
) -> dict:
    """The quote, and the plan that training begins with; refused where nothing meets the limits.

    Returns the plan, which the train step takes.
    """
    from tally.steps.image import require

    require("plan")
    from tally.steps.plan import run

    planned = run(dataset_folder.path, spec, page.path)
    for name, value in planned.figures.items():
        metrics.log_metric(name, value)
    return planned.plan
