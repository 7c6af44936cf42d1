"""A global batch that changes while training goes on."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.learning.gang_steps import apart, prepared, step
from helpers.learning.made_training import EXAMPLES, config, crew, pictures
from tally import storage
from tally.data.format import Array, Split, open_dataset
from tally.errors import SpecError
from tally.gang.coordinator.events import Formed, Observation
from tally.gang.messages import Finished, Message, Progress
from tally.learning import advance, batches, checkpoint, elastic, order, stepping
from tally.learning.moment import StepPlan
from tally.learning.position import Position
from tally.learning.standing import Place, Standing
from tally.learning.tensorflow import backend, environment
from tally.models import registry

pytestmark = pytest.mark.exact

keras = environment.load_keras()
SIZES = (32, 64, 128)


@given(st.floats(0.1, 1e6), st.integers(1, 1000), st.integers(0, 6))
def test_a_larger_batch_is_worth_less_an_example_and_more_a_step(
    noise: float, base: int, doublings: int
) -> None:
    found = [batches.efficiency(noise, base, base << n) for n in range(doublings + 1)]
    gains = [2**n * worth for n, worth in enumerate(found)]
    assert found[0] == 1
    assert found == sorted(found, reverse=True)
    assert gains == sorted(gains)
    assert gains[-1] <= 1 + noise / base + 1e-6  # as far as noise is what more examples average out


def test_without_a_noise_that_is_known_more_examples_are_worth_nothing() -> None:
    assert 2 * batches.efficiency(math.nan, 32, 64) == 1


def test_rates_grow_by_the_gain_or_by_a_root() -> None:
    assert batches.rate_factor("root", 100, 32, 128) == 2
    assert batches.rate_factor("adascale", 96, 32, 128) == pytest.approx(4 * 128 / 224)
    assert batches.rate_factor("adascale", 96, 32, 32) == 1


def test_batches_that_can_be_reached_are_the_users_doubled() -> None:
    assert batches.reachable(24, 200) == (24, 48, 96, 192)
    assert batches.reachable(24, 0) == (24,)


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_ends_where_a_lone_one_does_at_the_same_batches(
    workers: int,
) -> None:
    """Also where a gang's shapes and a lone worker's calls were made for another batch first."""
    found = []
    for size in (1, workers):
        training = prepared("cnn", batches=SIZES)
        offset = 0
        for batch in (32, 32, 64, 32, 32):  # 192 of the 203 examples
            sized = training.sized(batch)
            sized.use_rate(50.0, 32)
            step(sized, 0, offset, size)
            offset += batch
        found.append(training)
    assert apart(found[1], found[0]) <= 3e-4


def test_the_rate_of_adam_follows_the_batch_and_comes_back() -> None:
    training = prepared("cnn", batches=SIZES)
    for batch, factor in ((128, 2.0), (32, 1.0)):
        training.sized(batch).use_rate(50.0, 32)
        assert float(training.optimizer.learning_rate) == pytest.approx(0.001 * factor)


def test_every_batch_is_compiled_before_a_worker_is_ready() -> None:
    training = prepared("lstm", batches=SIZES, max_workers=2)
    training.warm()
    known = set(training.traced)
    for batch in SIZES:
        for workers in (1, 2):
            step(training.sized(batch), 0, 0, workers)
        x = np.zeros((batch, 12, 12, 1), np.uint8)
        training.sized(batch).run(x, np.zeros(batch, np.int32), 0, 0)
    assert set(training.traced) == known


def test_a_schedule_of_rates_cannot_follow_a_batch() -> None:
    meta = prepared("cnn").problem.meta
    model = registry.build("cnn", meta)
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="sparse_categorical_crossentropy")
    plan = StepPlan(batch_size=32, learning_rate=0.1, seed=1, batches=SIZES)
    with pytest.raises(SpecError, match="constant learning rate"):
        backend.prepare(model, meta, plan)


class Watched(Split):
    """A split that remembers which examples were asked for."""

    def gather(self, indices: Array) -> tuple[Array, Array]:
        asked.append(indices.copy())
        return super().gather(indices)


asked: list[Array] = []


class Paused:
    """An outside that pauses after so many calls, and keeps the checkpoints' positions."""

    left = 0

    def __init__(self) -> None:
        self.saved: list[Position] = []

    def paused(self) -> bool:
        self.left -= 1
        return self.left < 0

    def stopping(self) -> bool:
        return False

    def tell(self, message: Message) -> None: ...

    def observe(self, observation: Observation) -> None: ...

    def save(self, position: Position) -> None:
        self.saved.append(position)


def test_every_example_counts_once_an_epoch_whatever_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(pictures(tmp_path / "set"))
    wanted = config(tmp_path, dataset.folder, epochs=4, largest_batch=128)
    keras.utils.set_random_seed(0)
    plan = StepPlan(batch_size=32, learning_rate=0.001, seed=3, batches=SIZES)
    training = backend.prepare(registry.build("cnn", dataset.meta), dataset.meta, plan)
    split, outside = Watched(dataset.splits["train"].shards), Paused()
    standing = Standing(Position())
    asked.clear()
    for number, batch in enumerate((32, 64, 128, 32, 128, 64, 128)):
        outside.left = 10**9 if number == 6 else 4
        # four steps, however fast the machine is; to the end several a call
        monkeypatch.setattr(stepping, "CALL_SECONDS", 0.15 if number == 6 else 0.0)
        standing.position = replace(standing.position, batch_size=batch)
        sized = training.sized(batch)
        elastic.train(wanted, sized, split, standing, Place(), None, outside)
    position, seen = standing.position, np.concatenate(asked)
    assert advance.finished(wanted, position, EXAMPLES)
    assert 4 * EXAMPLES <= position.progress_examples < 4 * EXAMPLES + 128
    assert position.examples_trained == len(seen) >= position.progress_examples
    for epoch in range(position.epoch):
        here = seen[epoch * EXAMPLES : (epoch + 1) * EXAMPLES]
        expected = order.epoch_order(wanted.seed, epoch, EXAMPLES)[: len(here)]
        np.testing.assert_array_equal(here, expected)
    assert len(position.history) == position.epoch
    assert position.noise.variance != 0  # a lone worker has measured it
    assert outside.saved[-1] == position


def until_batch(running: Any, size: int) -> None:
    running.coordinator.rebatch(size)
    running.until(Formed, where=lambda event: event.batch_size == size)
    running.until(Progress)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_gang_changes_its_batch_and_a_resume_goes_on_with_it(
    workers: int, tmp_path: Path
) -> None:
    given = config(
        tmp_path, pictures(tmp_path / "data"), max_workers=workers, cores=1, epochs=100_000,
        largest_batch=128,
    )  # fmt: skip
    with crew(tmp_path, given, workers) as running:
        running.until(Progress)
        until_batch(running, 64)
        running.coordinator.stop()
        list(running.messages())
    folder = storage.location(given.checkpoint_folder)
    first = checkpoint.latest(folder, print)
    assert first is not None
    assert first.position.batch_size == 64
    assert first.position.steps > 0
    epochs = round(first.position.progress_examples / EXAMPLES) + 20
    with crew(tmp_path, replace(given, epochs=epochs), workers) as running:
        end = running.until(Finished)
    last = checkpoint.latest(folder, print)
    assert last is not None
    assert last.position.batch_size == 64
    assert last.position.progress_examples >= epochs * EXAMPLES
    assert end.examples_trained == last.position.examples_trained
    steps = last.position.steps - first.position.steps
    examples = last.position.examples_trained - first.position.examples_trained
    assert 32 < examples / steps <= 64
