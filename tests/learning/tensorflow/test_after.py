"""What is done to weights after a step: cubic pruning, alone, in a gang, resumed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.learning.gang_steps import BATCH, PICTURES, X, Y, alone, apart, plan, trained, values
from helpers.learning.made_training import config, pictures
from helpers.learning.pruned import EVERY, FINAL, STEPS, pruned, sparsity
from tally.data.format import Dataset, open_dataset
from tally.gang.collective import Membership
from tally.gang.coordinator.events import Observation
from tally.gang.mesh.mesh import Mesh
from tally.gang.messages import Message, WorkerConfig
from tally.learning import advance, checkpoint, elastic, stepping
from tally.learning.position import Position
from tally.learning.saving import Saver
from tally.learning.standing import Place, Standing
from tally.learning.tensorflow.backend import TensorFlowBackend

pytestmark = pytest.mark.exact


SIZES = (36, 12)  # of the kernels


def zeros(training: TensorFlowBackend) -> list[int]:
    """Of each kernel."""
    kernels = [v for n, v in training.variables("model/").items() if n.endswith("kernel")]
    return [int(np.sum(kernel == 0)) for kernel in kernels]


def test_a_gang_prunes_what_a_lone_worker_prunes() -> None:
    lone = pruned(PICTURES, plan())
    alone(lone, STEPS)
    assert zeros(lone) == [round(FINAL * size) for size in SIZES]
    for sizes in ([2], [1, 3]):
        gang = pruned(PICTURES, plan())
        trained(gang, sizes, STEPS)
        assert zeros(gang) == zeros(lone)
        assert apart(gang, lone) <= 3e-4


def test_in_deterministic_mode_no_size_changes_a_bit_of_what_is_pruned() -> None:
    ends = []
    for sizes in ([1], [2], [1, 3]):
        training = pruned(PICTURES, plan(deterministic=True))
        trained(training, sizes, STEPS)
        ends.append({name: v.tobytes() for name, v in values(training).items()})
    assert ends[1] == ends[0] == ends[2]
    assert {name.split(".")[1] for name in ends[0] if name.startswith("after/")} == {
        "mask", "last", "calls"
    }  # fmt: skip


def test_what_is_cut_follows_the_schedule_and_stays_cut() -> None:
    training = pruned(PICTURES, plan())
    for steps in range(0, STEPS, EVERY):
        x, y = X[: EVERY * BATCH], Y[: EVERY * BATCH]
        assert len(training.run(x[:-BATCH], y[:-BATCH], 0, 0, steps)) == EVERY - 1
        assert zeros(training) == [round(sparsity(steps) * size) for size in SIZES]
        training.run(x[-BATCH:], y[-BATCH:], 0, (EVERY - 1) * BATCH, steps + EVERY - 1)
        assert zeros(training) == [round(sparsity(steps + EVERY) * size) for size in SIZES]


def test_warming_up_changes_nothing_of_it() -> None:
    training = pruned(PICTURES, plan())
    before = {name: v.tobytes() for name, v in values(training).items()}
    training.warm()
    assert {name: v.tobytes() for name, v in values(training).items()} == before


class Outside:
    """Pauses after so many calls; saves as a worker does."""

    def __init__(self, saver: Saver, calls: int) -> None:
        self.save, self._left = saver.save, calls

    def paused(self) -> bool:
        self._left -= 1
        return self._left < 0

    def stopping(self) -> bool:
        return False

    def tell(self, message: Message) -> None: ...

    def observe(self, observation: Observation) -> None: ...


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return open_dataset(pictures(tmp_path / "set", 330))  # 11 steps an epoch, the last of 10


def go_on(given: WorkerConfig, dataset: Dataset, calls: int) -> tuple[TensorFlowBackend, Position]:
    """A worker's life: from its checkpoint, if any, so many calls, and a checkpoint."""
    made = {"seed": given.seed, "deterministic": given.deterministic}
    training = pruned(dataset.meta, plan(**made))
    folder, standing = Path(given.checkpoint_folder), Standing(Position())
    if found := checkpoint.latest(folder, pytest.fail):
        training.assign(found.tensors, "test")
        standing.position = found.position
    standing.position = advance.begun(standing.position, 330, given.batch_size)
    saver = Saver(given, training, {}, lambda message: None)
    outside, engine = Outside(saver, calls), None
    if given.deterministic:
        engine = Mesh()
        engine.join(Membership(1, 0, (engine.address,), b"k" * 32))
    try:
        elastic.train(given, training, dataset.splits["train"], standing, Place(), engine, outside)
    finally:
        if engine:
            engine.close()
    saver.save(standing.position)
    saver.wait()
    return training, standing.position


@pytest.mark.parametrize("deterministic", [False, True], ids=["alone", "deterministic"])
def test_saved_and_resumed_is_uninterrupted_bit_by_bit(
    deterministic: bool, tmp_path: Path, dataset: Dataset
) -> None:
    ends = []
    for name, lives in (("once", (10**9,)), ("twice", (3, 2, 10**9))):
        given = config(tmp_path / name, dataset.folder, deterministic=deterministic)
        for calls in lives:
            training, position = go_on(given, dataset, calls)
        ends.append({n: v.tobytes() for n, v in values(training).items()})
        assert position.steps == 33
        assert seen(training) == (33, 33)
    assert ends[0] == ends[1]
    assert zeros(training) == [round(FINAL * size) for size in SIZES]


def seen(training: TensorFlowBackend) -> tuple[int, int]:
    """The last step's number, and how many there were, as the graph counted them."""
    found = {n.split(".")[1]: int(v) for n, v in training.variables("after/").items() if not v.ndim}
    return found["last"], found["calls"]


def test_steps_of_any_batch_are_counted(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = config(tmp_path, dataset.folder, epochs=3, largest_batch=64)
    training = pruned(dataset.meta, plan(batches=(32, 64)))
    saver = Saver(given, training, {}, lambda message: None)
    standing = Standing(advance.begun(Position(), 330, 32))
    monkeypatch.setattr(stepping, "CALL_SECONDS", 0.0)  # a step a call
    for batch, calls in ((32, 4), (64, 3), (32, 10**9)):
        standing.position = replace(standing.position, batch_size=batch)
        outside = Outside(saver, calls)
        elastic.train(
            given, training.sized(batch), dataset.splits["train"], standing, Place(), None, outside
        )
    saver.wait()
    assert standing.position.steps == training.optimizer.iterations > 20
    assert seen(training) == (standing.position.steps, standing.position.steps)


ON_DEVICES = """
import json, sys
import numpy as np
from tally.learning.tensorflow import environment
environment.load_keras()
import tensorflow as tf
devices, out = json.loads(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from helpers.learning.gang_steps import PICTURES, alone, plan
from helpers.learning.pruned import STEPS, pruned
from tally.learning.tensorflow.devices import strategy
training = pruned(PICTURES, plan(), strategy(["CPU:0", "CPU:1"]) if devices > 1 else None)
alone(training, STEPS)
np.savez(out, **training.variables())
"""


@pytest.mark.slow
def test_several_devices_prune_what_one_prunes(tmp_path: Path) -> None:
    ends = []
    for devices in (1, 2):
        out = tmp_path / f"{devices}.npz"
        ended = subprocess.run(
            [sys.executable, "-c", ON_DEVICES, json.dumps([devices, str(out)])],
            capture_output=True, text=True, timeout=240,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-3000:]
        ends.append(dict(np.load(out)))
    one, two = ends
    assert one.keys() == two.keys()
    for name, value in one.items():
        if name.endswith(("mask", "last", "calls")):
            np.testing.assert_array_equal(two[name], value)
        if name.startswith("model/"):
            assert np.abs(two[name] - value).max() <= 3e-4 * np.abs(value).max()
