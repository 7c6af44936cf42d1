"""The model beside the plain method that its pipeline names, on the same test examples."""

from typing import Any

import numpy as np

from tally.baselines import registry as baselines
from tally.data.format import Array, Dataset
from tally.evaluation.verdict import paired_interval
from tally.tasks.classification.measures import classification


def compared(name: str, dataset: Dataset, right: Array) -> dict[str, Any] | None:
    """What evaluation.json says of a baseline; None where the run names none.

    Args:
        name: of a baseline, or "".
        dataset: its training split is what the baseline learns from.
        right: bool (n,), which test examples the model has right.

    Returns:
        name, described, test_accuracy, macro_f1 and their intervals; difference (the model's
        accuracy less the baseline's) with its 95 % interval, from the examples on which they
        differ; seconds that its answers took, and whether they were kept from an earlier run.
    """
    if not name:
        return None
    labels, found = dataset.splits["test"].labels(), baselines.answered(name, dataset)
    sure = np.eye(len(dataset.meta.class_names))[found.predicted]
    measures = classification(labels, sure, dataset.meta.class_names)
    theirs = found.predicted == labels
    gained, lost = int((right & ~theirs).sum()), int((~right & theirs).sum())
    return {
        "name": name,
        "described": found.described,
        "test_accuracy": measures["test_accuracy"],
        "macro_f1": measures["macro_f1"],
        "intervals": measures["intervals"],
        "difference": (gained - lost) / len(labels),
        "difference_interval": list(paired_interval(gained, lost, len(labels))),
        "seconds": found.seconds,
        "kept": found.kept,
    }
