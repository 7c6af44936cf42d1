"""Regression's loss, figures and measures, against scikit-learn's and by hand."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from tally.data import arrays
from tally.errors import DataError
from tally.learning.tensorflow import environment
from tally.reports import artifacts
from tally.tasks import registry
from tally.tasks.task import Batch, Head

environment.load_keras()
TASK = registry.named("regression")
FACTS = {"mean": 100.0, "scale": 20.0}
TRUE = np.array([90.0, 130.0, 100.0, 60.0], np.float32)
OUTPUTS = np.array([[-0.5], [1.0], [0.25], [-1.0]], np.float32)  # 90, 120, 105, 80
BATCH = Batch(None, TRUE)


def measured(count: int = 300, noise: float = 10.0):
    random = np.random.default_rng(count)
    true = random.normal(100, 20, count)
    measure = TASK.measure(FACTS)
    for part in np.array_split(np.arange(count), 3):
        measure.add(true[part], (true + random.normal(0, noise, count))[part])
    return measure


def test_mean_and_scale_are_those_of_all_parts_together() -> None:
    values = np.random.default_rng(0).normal(1e6, 3.0, 1000).astype(np.float32)
    facts = TASK.prepare(iter(np.array_split(values, 7)), "set")
    assert facts["mean"] == pytest.approx(values.astype(float).mean(), rel=1e-12)
    assert facts["scale"] == pytest.approx(values.astype(float).std(), rel=1e-6)


@pytest.mark.parametrize(
    ("parts", "got"),
    [([], "got none"), ([[3.0, 3.0]], "2 examples, all of 3"), ([[1.0, np.nan]], "nan")],
)
def test_what_nothing_can_be_learnt_of_is_one_line(parts: list, got: str) -> None:
    with pytest.raises(DataError, match=got):
        TASK.prepare((np.array(part) for part in parts), "set")


@pytest.mark.parametrize("compiled", [None, "mse", "mean_squared_error"])
def test_the_loss_is_of_the_standardised_number(compiled: str | None) -> None:
    losses, weights = TASK.loss(FACTS, compiled)(BATCH, OUTPUTS)
    assert weights is None
    np.testing.assert_allclose(losses, ((TRUE - 100) / 20 - OUTPUTS[:, 0]) ** 2, rtol=1e-6)


def test_errors_are_shown_in_the_targets_unit() -> None:
    (total,) = TASK.sums(BATCH, OUTPUTS, FACTS)
    assert float(total) == pytest.approx(0 + 10 + 5 + 20)
    assert TASK.figures({"absolute_error": 35.0}, 4) == {"mae": 8.75}
    assert TASK.decode(OUTPUTS, FACTS).tolist() == [90, 120, 105, 80]
    assert TASK.head(FACTS) == Head(1, "linear")


def test_measures_are_scikit_learns_beside_those_of_the_mean() -> None:
    measure = measured()
    found, (true, answers) = measure.result(), measure.records.T
    assert found["test_r2"] == pytest.approx(r2_score(true, answers))
    assert found["test_mae"] == pytest.approx(mean_absolute_error(true, answers))
    assert found["test_rmse"] == pytest.approx(root_mean_squared_error(true, answers))
    assert found["mean"]["test_mae"] == pytest.approx(abs(true - 100).mean())
    assert found["mean"]["test_r2"] <= 0
    for name in ("test_r2", "test_mae"):
        low, high = found["intervals"][name]
        assert low < found[name] < high


def test_merging_is_adding() -> None:
    one, other, both = measured(100), measured(50), TASK.measure(FACTS)
    for part in (one, other):
        both.add(*part.records.T)
    one.merge(other)
    assert one.result() == both.result()


def test_the_better_of_two_is_told_from_chance() -> None:
    good, bad, like = measured(noise=5.0), measured(noise=15.0), measured(noise=5.0)
    better = TASK.paired(good.records, bad.records)
    assert better.difference == pytest.approx(TASK.value(good.records) - TASK.value(bad.records))
    assert better.interval[0] > 0 and better.p_value < 0.01
    assert TASK.paired(bad.records, good.records).p_value > 0.99
    assert TASK.paired(good.records, like.records).p_value > 0.025


@pytest.mark.parametrize("answers", [[], [np.nan]])
def test_what_is_no_answer_is_one_line(answers: list[float]) -> None:
    measure = TASK.measure(FACTS)
    measure.add(np.ones(len(answers)), np.array(answers))
    with pytest.raises(DataError, match="expected a finite number for one test example"):
        measure.result()


def test_its_page_has_the_result_and_what_was_predicted() -> None:
    evaluation = {"task": "regression", **measured().result(), "candidates": [], "verdict": None}
    page = artifacts.evaluation_html(evaluation)
    for words in ("R²", "Predicted against true", "predicting the training split's mean"):
        assert words.replace("'", "&#39;") in page
    assert "Confusion" not in page


def test_numbers_without_a_task_are_told_of_it() -> None:
    with pytest.raises(DataError, match='TASK = "regression"'):
        arrays.flat_labels("set", TRUE)
