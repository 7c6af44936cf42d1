"""The model beside the plain method that its pipeline names, on the same test examples."""

from typing import Any

from tally.baselines import registry as baselines
from tally.data.format import Array, Dataset
from tally.tasks import registry


def compared(name: str, dataset: Dataset, records: Array) -> dict[str, Any] | None:
    """What evaluation.json says of a baseline; None where the run names none.

    Args:
        name: of a baseline, or "".
        dataset: its training split is what the baseline learns from.
        records: of the model's answers to the test split, as the task's measure has them.

    Returns:
        name, described, its measures with `intervals`; difference (the model's headline less the
        baseline's) with its 95 % interval; seconds that its answers took, and whether they were
        kept from an earlier run.
    """
    if not name:
        return None
    found, task = baselines.answered(name, dataset), registry.named(dataset.meta.task)
    theirs = task.measure(dataset.meta.facts)
    theirs.add(dataset.splits["test"].targets(), task.sure(found.predicted, dataset.meta.facts))
    measures, apart = theirs.result(), task.paired(records, theirs.records)
    return {
        "name": name,
        "described": found.described,
        **{each: measures[each] for each in measures["intervals"]},
        "intervals": measures["intervals"],
        "difference": apart.difference,
        "difference_interval": list(apart.interval),
        "seconds": found.seconds,
        "kept": found.kept,
    }
