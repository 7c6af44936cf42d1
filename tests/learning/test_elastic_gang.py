"""Gangs of real worker processes that grow, shrink and die: the result stays the same."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_worker import USER

from helpers.learning.made_training import (
    EXAMPLES,
    Ended,
    config,
    crew,
    finished,
    made,
    pictures,
    words,
)
from helpers.learning.warm_gang import Pool, WarmGang
from tally.data.format import Meta
from tally.gang.coordinator.events import Formed, Observed
from tally.gang.messages import Finished, Progress, Stopped
from tally.learning.checkpoint import read_tensors

pytestmark = pytest.mark.exact

DROPOUT = USER.replace("layers.BatchNormalization(), ", "").replace("RMSprop(0.002)", "Adam(0.001)")
TOLERANCE = 3e-4  # max|Δw|/max|w| of the default mode
SLOW = """
import time
import keras
import tensorflow as tf
from keras import layers

class Nap(layers.Layer):
    # a step takes so long that a gang can change in the middle of a few
    def call(self, x):
        nap = tf.py_function(lambda: time.sleep(%g), [], [])
        with tf.control_dependencies([nap]):
            return tf.identity(x)

def model():
    made = keras.Sequential([
        keras.Input((12, 12, 1)), Nap(), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(),
        layers.Dropout(0.3), layers.Dense(16, activation="relu"), layers.Dropout(0.3),
        layers.Dense(3, activation="softmax"),
    ])
    made.compile(optimizer=keras.optimizers.Adam(0.001), loss="sparse_categorical_crossentropy")
    return made
"""
COUNTING = """
import keras

def counts(labels, outputs):
    # its gradient by the kernel's row i is 1 for each time that example i is used
    return keras.ops.sum(outputs, axis=-1)

def model():
    inputs = keras.Input((%d,))
    outputs = keras.layers.Dense(2, use_bias=False, kernel_initializer="zeros")(inputs)
    made = keras.Model(inputs, outputs)
    made.compile(optimizer=keras.optimizers.SGD(1.0), loss=counts)
    return made
"""


def kernel_of(folder: Path) -> np.ndarray:
    """All trained numbers in one vector; random states, which are no weights, left out."""
    tensors, _ = read_tensors(folder / "weights.safetensors")
    return np.concatenate(
        [tensors[n].ravel() for n in sorted(tensors) if tensors[n].dtype.kind == "f"]
    )


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max() / np.abs(other).max())


def dataset_and_model(name: str, folder: Path) -> tuple[Path, str]:
    if name == "lstm":
        return words(folder / "data"), "lstm"
    if name == "user":
        (folder / "mine.py").write_text(DROPOUT)
        return pictures(folder / "data"), str(folder / "mine.py")
    return pictures(folder / "data"), "cnn"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("cnn", marks=pytest.mark.slow),
        pytest.param("lstm", marks=pytest.mark.slow),
        pytest.param("user", id="with dropout"),
    ],
)
@pytest.mark.parametrize(
    "deterministic",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["deterministic", "default"],
)
def test_any_number_of_workers_gives_the_same_weights(
    name: str, deterministic: bool, tmp_path: Path
) -> None:
    dataset, model = dataset_and_model(name, tmp_path)
    found = {}
    for workers in (1, 2, 3, 4):
        given = config(
            tmp_path / str(workers), dataset, model=model, max_workers=4, cores=1,
            deterministic=deterministic, epochs=2,
        )  # fmt: skip
        said = finished(tmp_path / str(workers), given, workers)
        (end,) = [m for m in said if isinstance(m, Finished)]
        assert end.examples_trained == 2 * EXAMPLES
        found[workers] = kernel_of(Path(given.model_folder))
    for workers in (2, 3, 4):
        if deterministic:
            assert found[workers].tobytes() == found[1].tobytes()
        else:
            assert apart(found[workers], found[1]) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("deterministic", [True, False], ids=["deterministic", "default"])
def test_a_gang_that_goes_from_1_to_3_to_2_to_4_gives_the_same_weights(
    deterministic: bool, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(SLOW % (0.025 if deterministic else 0.1))
    given = config(
        tmp_path, pictures(tmp_path / "data"), model=str(tmp_path / "mine.py"), epochs=2,
        deterministic=deterministic, virtual_shards=4, max_workers=4, cores=1,
    )  # fmt: skip

    def then(before: int, size: int) -> Callable[[WarmGang], bool | None]:
        return lambda gang: gang.resize(size) if gang.sizes[-1] == before else False

    pool = Pool(given, tmp_path / "log", 5)
    try:
        calm = warm_trained(pool, tmp_path / "calm", [])
        moved = warm_trained(
            pool, tmp_path / "moved", [(5, then(1, 3)), (20, then(3, 2)), (35, then(2, 4))]
        )
    finally:
        pool.close()
    assert calm.sizes == [1]
    seen = iter(moved.sizes)  # in this order; newcomers that come one by one make sizes between
    assert all(size in seen for size in (1, 3, 2, 4)), moved.sizes
    weights = [kernel_of(tmp_path / name / "model") for name in ("calm", "moved")]
    if deterministic:
        assert weights[0].tobytes() == weights[1].tobytes()
    else:
        assert apart(*weights) <= TOLERANCE


def warm_trained(pool: Pool, folder: Path, strikes: list[Any]) -> WarmGang:
    gang = WarmGang(pool, folder, 1, [], {})
    try:
        end = gang.run(strikes, 180)
        assert end.examples_trained == 2 * EXAMPLES
    finally:
        gang.close()
    return gang


@pytest.mark.slow
def test_every_example_counts_once_an_epoch_in_the_weights_whoever_dies(tmp_path: Path) -> None:
    examples, epochs, batch = 509, 12, 8
    meta = Meta("ids", "sequence", (examples,), "float32", 1, ("a", "b"))
    labels = (np.arange(examples) % 2).astype(np.int32)
    dataset = made(tmp_path / "data", meta, np.eye(examples, dtype=np.float32), labels)
    (tmp_path / "mine.py").write_text(COUNTING % examples)
    given = config(
        tmp_path, dataset, model=str(tmp_path / "mine.py"), max_workers=3, cores=1,
        epochs=epochs, batch_size=batch,
    )  # fmt: skip
    kills = 0
    with crew(tmp_path, given, 3) as running:
        for event in running.events(120):
            far = isinstance(event, Observed) and event.observation.step > 150 * (kills + 1)
            if far and kills < 2:
                running.processes[event.worker].kill()
                kills += 1
            if isinstance(event, Ended) and event.process.returncode == -signal.SIGKILL:
                running.start(int(event.worker))
    assert kills == 2, running.log.read_text()
    # the last batch of an epoch is smaller: its examples weigh more, each epoch another few
    kernel = read_tensors(Path(given.model_folder) / "weights.safetensors")[0]
    (weights,) = kernel.values()
    from tally.learning import order

    expected = np.zeros(examples)
    for epoch in range(epochs):
        indices = order.epoch_order(given.seed, epoch, examples)
        for first in range(0, examples, batch):
            here = indices[first : first + batch]
            expected[here] -= 1.0 / len(here)
    np.testing.assert_allclose(weights, np.stack([expected] * 2, 1), rtol=1e-4)


def test_a_killed_worker_costs_at_most_one_step(tmp_path: Path) -> None:
    given = config(
        tmp_path, pictures(tmp_path / "data"), max_workers=2, cores=1, epochs=100_000
    )  # fmt: skip
    with crew(tmp_path, given, 2) as running:
        seen = running.until(Observed, where=lambda event: event.observation.step > 20)
        running.processes["1"].kill()
        formed = running.until(Formed)
        assert formed.workers == ("0",)
        assert not formed.fresh
        after = running.until(Progress)
        assert after.done_examples > seen.observation.step * 32 - 2 * 32


@pytest.mark.slow
def test_a_stopped_worker_is_left_behind(tmp_path: Path) -> None:
    given = config(
        tmp_path, pictures(tmp_path / "data"), max_workers=2, cores=1, epochs=100_000
    )  # fmt: skip
    with crew(tmp_path, given, 2) as running:
        running.until(Observed)
        running.processes["0"].send_signal(signal.SIGSTOP)
        formed = running.until(Formed)
        assert formed.workers == ("1",)
        running.until(Progress)
        running.processes["0"].send_signal(signal.SIGCONT)
        ended = running.until(Ended)
        assert (ended.worker, ended.process.returncode) == ("0", 76)


@pytest.mark.slow
def test_a_gang_that_is_stopped_saves_once_and_goes_on_from_there(tmp_path: Path) -> None:
    given = config(
        tmp_path, pictures(tmp_path / "data"), max_workers=2, cores=1, epochs=12, batch_size=8
    )  # fmt: skip
    calm = config(tmp_path / "calm", tmp_path / "data", max_workers=2, cores=1, epochs=12,
                  batch_size=8)  # fmt: skip
    finished(tmp_path / "calm", calm, 2)
    with crew(tmp_path, given, 2) as running:
        running.until(Observed, where=lambda event: event.observation.step > 20)
        running.coordinator.stop()
        said = list(running.messages())
        assert [type(m) for m in said if isinstance(m, Stopped)] == [Stopped]
        assert {p.returncode for p in running.processes.values()} == {0}
    assert len(list(Path(given.checkpoint_folder).iterdir())) == 1
    finished(tmp_path, given, 2)
    assert (
        kernel_of(Path(given.model_folder)).tobytes()
        == kernel_of(Path(calm.model_folder)).tobytes()
    )
