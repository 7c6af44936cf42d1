"""Classification's loss and figures, against Keras's own."""

import numpy as np
import pytest

from tally.errors import SpecError
from tally.learning.tensorflow import environment
from tally.tasks import reading, registry
from tally.tasks.task import Batch, Head

keras = environment.load_keras()
FACTS = {"class_names": ("a", "b", "c")}
TASK = registry.named("classification")
LABELS = np.array([0, 2, 1, 2], np.int32)
OUTPUTS = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], np.float32)
BATCH = Batch(None, LABELS)


@pytest.mark.parametrize(
    "compiled",
    [
        None,
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
        keras.losses.CategoricalCrossentropy(),
        keras.losses.SparseCategoricalCrossentropy(),
    ],
)
def test_every_spelling_of_cross_entropy_is_the_same_loss(compiled: object) -> None:
    losses, weights = TASK.loss(FACTS, compiled)(BATCH, OUTPUTS)
    assert weights is None
    np.testing.assert_allclose(losses, -np.log(OUTPUTS[np.arange(4), LABELS]), rtol=1e-6)


def test_a_loss_of_the_users_own_gets_plain_labels() -> None:
    losses, _ = TASK.loss(FACTS, lambda labels, outputs: outputs[:, 0] * labels)(BATCH, OUTPUTS)
    np.testing.assert_allclose(losses, OUTPUTS[:, 0] * LABELS)


def test_right_answers_are_counted_and_shown_as_a_share() -> None:
    (right,) = TASK.sums(BATCH, OUTPUTS, FACTS)
    assert int(right) == 3
    assert TASK.figures({"correct": 3.0}, 4) == {"accuracy": 0.75}


def test_a_packaged_model_ends_in_a_probability_a_class() -> None:
    assert TASK.head(FACTS) == Head(3, "softmax")


@pytest.mark.parametrize("name", ["regresion", "sections", "classification.showing"])
def test_a_task_that_there_is_not_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(SpecError, match=f"got {name};"):
        reading.of({"task": name})


def test_probabilities_are_those_that_a_model_gives_and_sum_to_1() -> None:
    quantised = np.array([[0.5, 0.25, 0.254], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    found = TASK.decode(quantised, FACTS)
    np.testing.assert_allclose(found[:2].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found[0], quantised[0] / 1.004, rtol=1e-6)
    assert not found[2].any()
    older = np.log(np.array([[0.5, 0.25, 0.25]]))  # logits of a .tflite
    np.testing.assert_allclose(TASK.decode(older, FACTS), np.exp(older))
    assert np.isnan(TASK.decode(np.array([[np.nan, 1, 1]]), FACTS)).all()  # not hidden
