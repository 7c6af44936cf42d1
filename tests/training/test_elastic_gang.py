"""Gangs of real worker processes that grow, shrink and die: the result stays the same."""

import signal
from pathlib import Path

import numpy as np
import pytest
from made_training import EXAMPLES, Crew, Ended, config, crew, finished, made, pictures, words
from test_worker import USER

from tally.data.format import Meta
from tally.training.checkpoint import read_tensors
from tally.training.coordinator.events import Formed, Observed
from tally.training.messages import Finished, Progress, Stopped, WorkerConfig

DROPOUT = USER.replace("layers.BatchNormalization(), ", "").replace("RMSprop(0.002)", "Adam(0.001)")
TOLERANCE = 3e-4  # max|Δw|/max|w| of the default mode
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


def kernel_of(given: WorkerConfig) -> np.ndarray:
    """All trained numbers in one vector; random states, which are no weights, left out."""
    tensors, _ = read_tensors(Path(given.model_folder) / "weights.safetensors")
    return np.concatenate(
        [tensors[n].ravel() for n in sorted(tensors) if tensors[n].dtype.kind == "f"]
    )


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max() / np.abs(other).max())


def drive(running: Crew, sizes: list[int], steps_between: int = 6) -> list[object]:
    """Let a gang go through sizes, each after so many steps at the size before; what happened."""
    said: list[object] = []
    todo, at, since = list(sizes), None, 0
    for event in running.events(120):
        said.append(event)
        if isinstance(event, Formed):
            at, since = len(event.workers), None
        if isinstance(event, Observed) and todo and at is not None:
            since = event.observation.step if since is None else since
            if event.observation.step >= since + steps_between:
                size, at = todo.pop(0), None
                running.coordinator.resize(size)
                for index in range(size):
                    process = running.processes.get(str(index))
                    if process is None or process.poll() is not None:
                        running.start(index)
    return said


def dataset_and_model(name: str, folder: Path) -> tuple[Path, str]:
    if name == "lstm":
        return words(folder / "data"), "lstm"
    if name == "user":
        (folder / "mine.py").write_text(DROPOUT)
        return pictures(folder / "data"), str(folder / "mine.py")
    return pictures(folder / "data"), "cnn"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("cnn", marks=pytest.mark.slow),
        pytest.param("lstm", marks=pytest.mark.slow),
        pytest.param("user", id="with dropout"),
    ],
)
@pytest.mark.parametrize("deterministic", [True, False], ids=["deterministic", "default"])
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
        found[workers] = kernel_of(given)
    for workers in (2, 3, 4):
        if deterministic:
            assert found[workers].tobytes() == found[1].tobytes()
        else:
            assert apart(found[workers], found[1]) <= TOLERANCE


@pytest.mark.slow
def test_a_gang_that_goes_from_1_to_3_to_2_to_4_gives_the_same_weights(tmp_path: Path) -> None:
    deterministic = True  # slow enough that newcomers come before the end
    dataset, model = dataset_and_model("user", tmp_path)
    changes = {
        "model": model, "max_workers": 4, "cores": 1, "deterministic": deterministic, "epochs": 1
    }  # fmt: skip
    # long enough for newcomers to start: an epoch of many small steps
    changes |= {"batch_size": 4, "epochs": 40}
    calm = config(tmp_path / "calm", dataset, **changes)
    finished(tmp_path / "calm", calm)
    moved = config(tmp_path / "moved", dataset, **changes)
    with crew(tmp_path / "moved", moved, 1) as running:
        said = drive(running, [3, 2, 4])
    sizes = [len(event.workers) for event in said if isinstance(event, Formed)]
    seen = iter(sizes)  # in this order; newcomers that are ready one by one make sizes between
    assert all(size in seen for size in (1, 3, 2, 4)), sizes
    (end,) = [m for m in said if isinstance(m, Finished)]
    assert end.examples_trained == 40 * EXAMPLES
    assert kernel_of(moved).tobytes() == kernel_of(calm).tobytes()


def test_every_example_counts_once_an_epoch_in_the_weights_whoever_dies(tmp_path: Path) -> None:
    examples, epochs, batch = 509, 25, 8
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
            far = isinstance(event, Observed) and event.observation.step > 200 * (kills + 1)
            if far and kills < 2:
                running.processes[event.worker].kill()
                kills += 1
            if isinstance(event, Ended) and event.process.returncode == -signal.SIGKILL:
                running.start(int(event.worker))
    assert kills == 2, running.log.read_text()
    # the last batch of an epoch is smaller: its examples weigh more, each epoch another few
    kernel = read_tensors(Path(given.model_folder) / "weights.safetensors")[0]
    (weights,) = kernel.values()
    from tally.training import order

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
    assert kernel_of(given).tobytes() == kernel_of(calm).tobytes()
