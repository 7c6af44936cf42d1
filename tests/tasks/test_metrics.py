"""Measures of a classifier against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as peer

from tally.errors import DataError
from tally.tasks.classification.measures import classification


@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_agrees_with_scikit_learn(count: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    probabilities = random.dirichlet(np.ones(classes), count)
    names = [str(k) for k in range(classes)]
    found = classification(labels, probabilities, names)
    predicted = probabilities.argmax(axis=1)
    everyone = list(range(classes))
    assert found["test_accuracy"] == pytest.approx(peer.accuracy_score(labels, predicted))
    assert found["confusion"] == peer.confusion_matrix(labels, predicted, labels=everyone).tolist()
    loss = peer.log_loss(labels, probabilities, labels=everyone)
    assert found["test_loss"] == pytest.approx(loss, rel=1e-9)
    f1 = peer.f1_score(labels, predicted, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(f1)
    assert sum(row["support"] for row in found["per_class"]) == count


def test_no_examples_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="one test"):
        classification(np.zeros(0, int), np.zeros((0, 2)), ["a", "b"])
    with pytest.raises(DataError, match=r"\(3, 2\)"):
        classification(np.zeros(3, int), np.zeros((3, 5)), ["a", "b"])
