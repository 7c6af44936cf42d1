"""Intervals, calibration, ROC, latency, the front and drift, against references and simulations."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.errors import DataError
from tally.evaluation import drift, latency
from tally.evaluation.pareto import front
from tally.tasks.classification.intervals import bootstrap
from tally.tasks.classification.measures import calibration, classification


def predictions(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)).round(1)  # so that scores tie
    logits[np.arange(count), labels] += 1
    exponents = np.exp(logits)
    return labels, exponents / exponents.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("count", "classes"), [(30, 2), (500, 3), (400, 25)])
def test_areas_and_curves_are_scikit_learns(count: int, classes: int) -> None:
    from sklearn.metrics import f1_score, roc_auc_score

    labels, probabilities = predictions(count, count, classes)
    measured = classification(labels, probabilities, [f"c{k}" for k in range(classes)])
    for k, row in enumerate(measured["per_class"]):
        expected = roc_auc_score(labels == k, probabilities[:, k])
        assert row["auc"] == pytest.approx(expected, abs=1e-12)
    predicted = probabilities.argmax(axis=1)
    assert measured["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    curves = measured["roc"]["curves"]
    assert len(curves) == (classes if classes <= 20 else 0)
    for curve in curves:
        false, true = curve["false_positive_rate"], curve["true_positive_rate"]
        assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
        assert 2 <= len(false) == len(true) <= 64
        assert (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all()


def test_a_class_that_is_alone_or_absent_has_no_area() -> None:
    alone = classification(np.zeros(4, int), np.tile([0.9, 0.1], (4, 1)), ["a", "b"])
    assert [row["auc"] for row in alone["per_class"]] == [None, None]
    assert alone["roc"] == {"macro_auc": None, "curves": []}
    assert alone["test_accuracy"] == 1 and alone["intervals"]["test_accuracy"] == [1, 1]
    only = classification(np.zeros(3, int), np.ones((3, 1)), ["a"])
    assert only["macro_f1"] == 1 and only["calibration"]["error"] == 0


def test_what_is_no_probability_is_refused_with_its_example() -> None:
    with pytest.raises(DataError, match="got nan or infinity for test example 1;"):
        classification(np.zeros(2, int), np.array([[1.0, 0], [np.nan, 1]]), ["a", "b"])
    with pytest.raises(DataError, match="for one test example or more"):
        classification(np.zeros(0, int), np.zeros((0, 2)), ["a", "b"])


@pytest.mark.parametrize("count", [200, 2000])
def test_the_interval_holds_the_true_accuracy_nineteen_times_in_twenty(count: int) -> None:
    random = np.random.default_rng(count)
    shares = np.array([[0.4, 0.05, 0.03], [0.02, 0.3, 0.0], [0.05, 0.05, 0.1]])
    inside = 0
    for trial in range(400):
        confusion = random.multinomial(count, shares.reshape(-1)).reshape(3, 3)
        low, high = bootstrap(confusion, trial)["test_accuracy"]
        inside += low <= 0.8 <= high
    assert 0.92 <= inside / 400 <= 0.98


@pytest.mark.timing
def test_many_examples_and_classes_are_resampled_in_little_time() -> None:
    random = np.random.default_rng(1)
    confusion = random.multinomial(50_000, random.dirichlet(np.ones(60 * 60))).reshape(60, 60)
    began = time.process_time()
    found = bootstrap(confusion)
    assert time.process_time() - began < 20
    right = confusion.trace() / confusion.sum()
    assert found["test_accuracy"][0] <= right <= found["test_accuracy"][1]


def test_calibration_is_how_far_confidence_is_from_being_right() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 9 + [1] + [1] * 6 + [0] * 4)
    assert calibration(labels, probabilities)["error"] == pytest.approx(0)
    found = calibration(np.zeros(20, int), probabilities)
    assert found["error"] == pytest.approx((10 * 0.1 + 10 * 0.6) / 20)
    assert sum(each["count"] for each in found["bins"]) == 20
    assert [each["accuracy"] for each in found["bins"] if each["count"]] == [0, 1]


@pytest.mark.timing
def test_latency_is_the_calls_own_time() -> None:
    found = latency.measure(lambda: time.sleep(0.002), seconds=0.1)
    assert 0.002 <= found.median_seconds <= found.p95_seconds < 0.05
    assert 9 <= found.calls <= 60
    assert latency.usd_per_million(0.0036, 1, 1.0) == pytest.approx(1.0)
    assert latency.usd_per_million(0.0036, 32, 1.0) == pytest.approx(1 / 32)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_who_nobody_beats(pairs) -> None:
    found = front([a for a, _ in pairs], [c for _, c in pairs])
    kept = [pair for pair, on in zip(pairs, found, strict=True) if on]
    assert bool(kept) == bool(pairs)
    for (accuracy, cost), on in zip(pairs, found, strict=True):
        beaten = any(a >= accuracy and c <= cost and (a, c) != (accuracy, cost) for a, c in kept)
        assert on is not beaten
    assert sorted(kept) == sorted(kept, key=lambda pair: pair[1])


def test_drift_tells_a_shift_from_a_new_sample() -> None:
    random = np.random.default_rng(8)

    def data(shift: float, shares):
        y = random.choice(3, 3000, p=shares)
        return random.normal(shift, 1, (3000, 6, 6)), y

    usual = (0.5, 0.3, 0.2)
    x, y = data(0, usual)
    before = drift.distribution(x, y, 3)
    assert len(before["features"]) == 16
    same = drift.drift(before, *data(0, usual), 3)
    assert same["word"] == "little" and same["worst_feature"] < 0.05
    moved = drift.drift(before, *data(1.0, usual), 3)
    assert moved["word"] == "much" and moved["labels"] < 0.02
    relabelled = drift.drift(before, *data(0, (0.1, 0.3, 0.6)), 3)
    assert relabelled["word"] == "much" and relabelled["features"] < 0.05
    assert drift.drift(before, x, y, 4)["word"] is None
    one = drift.distribution(np.zeros((5, 2), np.uint8), np.zeros(5, int), 1)
    assert drift.drift(one, np.zeros((5, 2), np.uint8), np.zeros(5, int), 1)["labels"] == 0
