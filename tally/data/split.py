"""Which examples are held out for the test split where a source does not say."""

from typing import Any

import numpy as np

from tally.data.content import Array
from tally.tasks.task import Task

TEST_SHARE = 0.2
SEED = 0  # fixed: runs with other seeds are judged on the same examples


def held_out(labels: Array, examples: int | None = None) -> Array:
    """A stratified random choice: every class gives the same share, as near as whole numbers can.

    Args:
        labels: int (n,).
        examples: how many to choose; by default TEST_SHARE of them. A class always keeps one.

    Returns:
        bool (n,): true where the example is for the test split.
    """
    counts = np.bincount(labels)
    share = counts * ((len(labels) * TEST_SHARE if examples is None else examples) / len(labels))
    quota = np.floor(share).astype(int)
    missing = round(float(share.sum())) - int(quota.sum())
    quota[np.argsort(quota - share, kind="stable")[:missing]] += 1  # the largest remainders
    quota = np.minimum(quota, np.maximum(counts - 1, 0))
    random = np.random.default_rng(SEED)
    chosen = np.zeros(len(labels), bool)
    for label, count in enumerate(quota):
        chosen[random.permutation(np.flatnonzero(labels == label))[:count]] = True
    return chosen


def held_out_of(task: Task, target: Any, examples: int) -> Array:
    """`held_out` of a task's targets, stratified as the task says.

    Args:
        target: of all examples.
        examples: how many they are.
    """
    strata = task.stratify(target)
    return held_out(np.zeros(examples, np.int64) if strata is None else strata)
