"""The gradient noise scale: of gradients whose noise is known, and of a real step's parts."""

import math
from pathlib import Path

import numpy as np
import pytest

from helpers.learning.made_training import pictures
from tally.data.format import open_dataset
from tally.learning import noise, order
from tally.learning.moment import Moment, StepPlan, rows
from tally.learning.tensorflow import backend, environment
from tally.learning.tensorflow.backend import TensorFlowBackend
from tally.models import registry


def test_the_scale_of_gradients_whose_noise_is_known() -> None:
    random = np.random.default_rng(7)
    true, deviation = random.normal(0, 0.3, 50), random.uniform(0.5, 2, 50)
    expected = float(np.sum(deviation**2) / np.sum(true**2))
    found, scales = noise.UNKNOWN, []
    for _ in range(6000):
        sizes = random.permutation([3, 5, 8])  # unequal parts, as virtual shards are
        parts = [true + random.normal(0, deviation / math.sqrt(n)) for n in sizes]
        whole = np.average(parts, axis=0, weights=sizes)
        small = float(np.mean([part @ part for part in parts]))
        harmonic = len(sizes) / sum(1 / n for n in sizes)
        found = noise.averaged(found, small, harmonic, float(whole @ whole), float(sum(sizes)))
        scales.append((found.variance, found.signal))
    variance, signal = np.mean(scales[500:], axis=0)
    assert variance / signal == pytest.approx(expected, rel=0.05)


def test_a_step_in_one_part_says_nothing() -> None:
    known = noise.GradientNoise(2.0, 6.0)
    assert known.scale_examples == 3
    assert noise.averaged(known, 1.0, 32.0, 1.0, 32.0) == known
    assert noise.averaged(known, math.inf, 8.0, 1.0, 32.0) == known
    assert math.isnan(noise.UNKNOWN.scale_examples)


@pytest.mark.parametrize("adam", [False, True])
def test_a_steps_parts_bring_their_norms_along(adam: bool, tmp_path: Path) -> None:
    keras = environment.load_keras()
    dataset = open_dataset(pictures(tmp_path / "data"))
    model = registry.build("cnn", dataset.meta)
    if not adam:
        model.compile(optimizer=keras.optimizers.SGD(0.01), loss="sparse_categorical_crossentropy")
    plan = StepPlan(batch_size=32, learning_rate=0.001, seed=3, max_workers=3)
    training = backend.prepare(model, dataset.meta, plan)
    indices = order.epoch_order(3, 0, len(dataset.splits["train"]))
    for step in range(21):
        here = indices[step * 32 : step * 32 + 32]
        parts, squares, sizes = [], [], []
        scale = divisor(training)
        for rank in range(3):
            moment = Moment(0, step * 32, 32, rank, 3)
            first, last = rows(plan, moment)
            x, y = dataset.splits["train"].gather(here[first:last])
            parts.append(training.share(x, y, moment, np.zeros(2, "f4")).numpy())
            gradient = parts[-1][: scale.size] * (32 / (last - first)) / scale
            squares.append(float(gradient @ gradient))
            sizes.append(last - first)
        total = np.sum(parts, axis=0, dtype=np.float32)
        sums = training.totals(total)
        assert sums.parts == (3 if step % 10 == 0 else 0)
        whole = total[: scale.size] / scale
        found = training.apply(total)
        if not sums.parts:
            assert found == 0
            continue
        assert sums.part_examples == pytest.approx(3 / sum(1 / n for n in sizes))
        if step:  # Adam has nothing to divide by before
            assert sums.part_squares == pytest.approx(np.mean(squares), rel=1e-3)
            assert found == pytest.approx(float(whole @ whole), rel=1e-3)


def divisor(training: TensorFlowBackend) -> np.ndarray:
    """What the optimizer divides a gradient's numbers by, one after another."""
    optimizer = training.optimizer
    sizes = [int(np.prod(v.shape)) for v in training.model.trainable_variables]
    if not hasattr(optimizer, "_velocities"):
        return np.ones(sum(sizes), np.float32)
    flat = np.concatenate([v.numpy().ravel() for v in optimizer._velocities])
    steps = max(int(optimizer.iterations.numpy()), 1)
    return np.sqrt(flat / (1 - optimizer.beta_2**steps)) + optimizer.epsilon
