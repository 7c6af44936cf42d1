"""What a model's result is worth nothing without: the plain method on the same split, one a file.

Each has `VERSION` (raise it when its answers change), `check(meta)`, `usual_seconds(dataset)` and
`answers(dataset) -> Answers`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tally.data.content import Array


@dataclass(frozen=True)
class Answers:
    """What a baseline says of the test split.

    Attributes:
        described: the method and what was chosen for it, in a few words.
        predicted: int (n,), a class for every test example, in order.
    """

    described: str
    predicted: Array


FOLDS = 3


def share_right(model: Any, features: Any, labels: Array) -> float:
    """How often a scikit-learn classifier is right on what it was not fitted on.

    By stratified threefold cross-validation; 0 where a class has one example, which leaves nothing
    to choose by.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = min(FOLDS, int(np.bincount(labels).min()))
    if folds < 2:
        return 0.0
    cut = StratifiedKFold(folds, shuffle=True, random_state=0)
    return float(cross_val_score(model, features, labels, cv=cut).mean())
