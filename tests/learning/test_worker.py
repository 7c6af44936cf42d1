"""A worker process: killed, asked to stop, left alone, and given what cannot be trained."""

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.learning.made_training import EXAMPLES, config, finished, pictures, words, worker
from tally.gang.messages import (
    EpochEnd,
    Failed,
    Finished,
    Note,
    Progress,
    Ready,
    Saved,
    Started,
    Stopped,
    WorkerConfig,
)
from tally.learning import checkpoint
from tally.learning.checkpoint import read_tensors

USER = """
import keras
from keras import layers

def model():
    made = keras.Sequential([
        keras.Input((12, 12, 1)),
        layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(),
        layers.Flatten(), layers.Dropout(0.3), layers.Dense(16, activation="relu"),
        layers.Dropout(0.3), layers.Dense(3, activation="softmax"),
    ])
    made.compile(optimizer=keras.optimizers.RMSprop(0.002), loss="categorical_crossentropy")
    return made
"""


def outcome(given: WorkerConfig) -> tuple[dict[str, bytes], list[tuple[float, float]], int]:
    """The weights bit by bit, each epoch's loss and accuracy, examples trained."""
    folder = Path(given.model_folder)
    tensors, _ = read_tensors(folder / "weights.safetensors")
    summary = json.loads((folder / "training.json").read_text())
    history = [(epoch["loss"], epoch["accuracy"]) for epoch in summary["history"]]
    weights = {name: value.tobytes() for name, value in tensors.items()}
    return weights, history, summary["examples_trained"]


def end_early(folder: Path, given: WorkerConfig, how: int, saves: int) -> list[object]:
    """Train until some checkpoints are made and training is beyond the last; then `how` ends it."""
    with worker(folder, given) as running:
        said: list[object] = []
        for message in running.messages():
            said.append(message)
            enough = sum(isinstance(m, Saved) for m in said) >= saves
            if enough and isinstance(message, Progress):
                break
        began = time.monotonic()
        running.process.send_signal(how)
        said += list(running.messages())
        code = running.process.wait(timeout=60)
        if how == signal.SIGTERM:
            assert time.monotonic() - began < 10
            assert code == 143, "0 would say that it needs no successor"
    return said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "epochs", "ends"),
    [
        ("cnn", 20, [(signal.SIGKILL, 2), (signal.SIGTERM, 1)]),
        pytest.param("lstm", 12, [(signal.SIGKILL, 4)], marks=pytest.mark.slow),
        pytest.param("user", 30, [(signal.SIGKILL, 5)], marks=pytest.mark.slow),
    ],
    ids=["cnn", "lstm", "user model with dropout"],
)
def test_a_killed_training_ends_with_bitwise_the_same_weights(
    model: str, epochs: int, ends: list[tuple[int, int]], tmp_path: Path
) -> None:
    dataset = words(tmp_path / "data") if model == "lstm" else pictures(tmp_path / "data")
    if model == "user":
        (tmp_path / "mine.py").write_text(USER)
        model = str(tmp_path / "mine.py")
    undisturbed = config(tmp_path / "calm", dataset, model=model, epochs=epochs)
    said = finished(tmp_path / "calm", undisturbed)
    assert [type(m) for m in said if isinstance(m, Ready | Started)] == [Ready, Started]
    assert [m.epoch for m in said if isinstance(m, EpochEnd)] == list(range(epochs))
    disturbed = config(
        tmp_path / "killed", dataset, model=model, epochs=epochs, checkpoint_seconds=0.02
    )
    last_saved, began = None, time.monotonic()
    for how, saves in ends:
        life = end_early(tmp_path / "killed", disturbed, how, saves)
        assert next(m for m in life if isinstance(m, Started)) == started(last_saved)
        assert not any(isinstance(m, Finished) for m in life), "it ended before it was killed"
        last_saved = newest_saved(disturbed)
        assert last_saved in life or how == signal.SIGKILL, "a kill may come before it is told"
        if how == signal.SIGTERM:
            stopped = life[-1]
            assert isinstance(stopped, Stopped)
            assert (stopped.epoch, stopped.offset) == (last_saved.epoch, last_saved.offset)
    life = finished(tmp_path / "killed", disturbed)
    assert started(last_saved) in life
    assert outcome(disturbed) == outcome(undisturbed)
    assert outcome(disturbed)[2] == epochs * EXAMPLES
    end = life[-1]
    assert isinstance(end, Finished)
    assert end.examples_trained == epochs * EXAMPLES
    assert 0 < end.seconds < time.monotonic() - began, "time is not counted twice"


def newest_saved(given: WorkerConfig) -> Saved:
    """What was, or would have been, told of the newest checkpoint."""
    found = checkpoint.latest(Path(given.checkpoint_folder), print)
    assert found is not None
    return Saved(found.position.epoch, found.position.offset, found.saved_at_microseconds)


def started(saved: Saved | None) -> Started:
    """How a life begins after a checkpoint, or without one."""
    if saved is None:
        return Started(0, 0, None)
    return Started(saved.epoch, saved.offset, saved.saved_at_microseconds)


@pytest.mark.slow
def test_a_training_that_is_done_writes_its_model_again_and_trains_nothing(tmp_path: Path) -> None:
    given = config(tmp_path, pictures(tmp_path / "data"), epochs=1)
    finished(tmp_path, given)
    before = outcome(given)
    for path in Path(given.model_folder).iterdir():
        path.unlink()
    newest = max(Path(given.checkpoint_folder).iterdir())
    again = finished(tmp_path, given)
    assert [type(m) for m in again] == [Ready, Finished]
    assert outcome(given) == before
    newest.write_bytes(newest.read_bytes()[:-100])
    repaired = finished(tmp_path, given)
    notes = [m for m in repaired if isinstance(m, Note)]
    assert len(notes) == 1
    assert newest.name in notes[0].message
    assert outcome(given)[0] == before[0]


def test_a_worker_ends_with_its_conductor_after_a_checkpoint(tmp_path: Path) -> None:
    conductor = subprocess.Popen(["sleep", "600"])
    given = config(tmp_path, pictures(tmp_path / "data"), epochs=100_000, parent_pid=conductor.pid)
    try:
        with worker(tmp_path, given) as running:
            running.until(Progress)
            conductor.kill()
            conductor.wait()
            assert running.process.wait(timeout=60) == 75, (
                "which tells Kubernetes not to replace it"
            )
    finally:
        conductor.kill()
    assert len(list(Path(given.checkpoint_folder).iterdir())) == 1


@pytest.mark.timing
def test_progress_comes_at_least_four_times_a_second(tmp_path: Path) -> None:
    given = config(tmp_path, pictures(tmp_path / "data"), epochs=100_000)
    with worker(tmp_path, given) as running:
        for _ in range(4):  # past the first, longer calls
            running.until(Progress)
        said, at = [], []
        for _ in range(25):
            said.append(running.until(Progress))
            at.append(time.monotonic())
        assert min(b - a for a, b in zip(at, at[8:], strict=False)) < 2.5, "8 in 2 s, at its best"
    done = [m.done_examples for m in said if isinstance(m, Progress)]
    assert done == sorted(set(done))
    assert all(isinstance(m, Progress) and m.total_examples == 100_000 * EXAMPLES for m in said)


def test_a_loss_that_is_not_finite_names_step_and_learning_rate(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        USER.replace("RMSprop(0.002)", "SGD(1e12)")
        .replace("categorical_crossentropy", "mse")
        .replace("layers.BatchNormalization(), ", "")
        .replace(', activation="softmax"', "")
    )
    given = config(tmp_path, pictures(tmp_path / "data"), model=str(tmp_path / "mine.py"))
    with worker(tmp_path, given) as running:
        failed = running.until(Failed)
        assert running.process.wait(timeout=60) == 1
    assert isinstance(failed, Failed)
    assert failed.exit_code == 1
    assert "\n" not in failed.message
    assert "expected a finite loss, got " in failed.message
    assert "at step " in failed.message
    assert "learning rate 1e+12; pass a smaller one, in the optimizer of" in failed.message
    assert not Path(given.model_folder).exists()


def test_a_checkpoint_of_another_spec_is_refused(tmp_path: Path) -> None:
    given = config(tmp_path, pictures(tmp_path / "data"), epochs=1)
    finished(tmp_path, given)
    with worker(tmp_path, replace(given, seed=4)) as running:
        said = list(running.messages())
        assert running.process.wait(timeout=60) == 2
    assert [type(m) for m in said] == [Ready, Failed]
    assert isinstance(said[1], Failed)
    assert "expected a checkpoint of seed 4, got one of 3" in said[1].message


def test_an_error_in_the_users_loss_is_told_and_the_log_shows_where(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    own = "def own(y, outputs):\n    return outputs.lost\n\n"
    mine.write_text(own + USER.replace('loss="categorical_crossentropy"', "loss=own"))
    given = config(tmp_path, pictures(tmp_path / "data"), model=str(mine))
    with worker(tmp_path, given) as running:
        failed = running.until(Failed)
        assert running.process.wait(timeout=60) == 2
        log = running.log.read_text()
    assert failed.message.startswith(f"{mine}: expected a model that trains on dataset shapes, got")
    assert "AttributeError" in failed.message
    story = log[log.index("Traceback") :].splitlines()
    assert story[1] == f'  File "{mine}", line 2, in own', log
