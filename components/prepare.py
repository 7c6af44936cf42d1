"""Validate the whole spec, then bring a source into a dataset folder."""

from kfp.dsl import Dataset, Output

from components.asked import asked_by_name
from components.component import component


@component
@asked_by_name
def prepare(dataset_folder: Output[Dataset], pipeline: str, **asked: object) -> dict:
    """Validate all parameters, then turn the source into memory-mapped shards, reused by content.

    Returns the validated spec, which the later steps take whole; `nothing_new` in it ends them.
    """
    from tally.steps.image import require

    require("prepare")
    from tally.steps.artifacts import leave_dataset
    from tally.steps.prepare import run

    prepared = run(pipeline, asked)
    leave_dataset(prepared.run, dataset_folder, prepared.folder, prepared.facts)
    return prepared.spec
