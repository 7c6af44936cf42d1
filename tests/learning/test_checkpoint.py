"""Checkpoints that are whole, or are not used."""

import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tally.errors import RunError, SchemaError, SpecError
from tally.gang.messages import EpochEnd
from tally.learning import advance, checkpoint
from tally.learning.checkpoint import Checkpoint
from tally.learning.position import Position

SPEC: dict[str, str | int] = {"dataset": "abc", "model": "cnn", "batch_size": 32, "seed": 0}
HISTORY = (EpochEnd(0, 0.5, 1.5, {"accuracy": 0.75}),)


def made(epoch: int = 1, offset: int = 64, fill: float = 1.0) -> Checkpoint:
    tensors = {
        "model/0000.kernel": np.full((30, 20), fill, np.float32),
        "model/0001.seed": np.array([7, 8], np.uint32),
        "optimizer/0000.iteration": np.array(5, np.int64),
    }
    totals = {"correct": 50.0}
    position = Position(
        epoch, offset, 12.25, 56.0, totals, 0.5, 1064, HISTORY,
        batch_size=32, steps=17, progress_examples=1064.0,
    )  # fmt: skip
    return Checkpoint(SPEC, position, 1_790_000_000_000_000, tensors)


def silent(line: str) -> None:
    raise AssertionError(line)


def test_what_was_saved_is_what_is_read(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none", silent) is None
    saved = made()
    checkpoint.save(tmp_path, saved)
    found = checkpoint.latest(tmp_path, silent)
    assert found is not None
    assert replace(found, tensors={}) == replace(saved, tensors={})
    assert found.tensors.keys() == saved.tensors.keys()
    for name, value in saved.tensors.items():
        assert found.tensors[name].dtype == value.dtype
        assert found.tensors[name].shape == value.shape
        np.testing.assert_array_equal(found.tensors[name], value)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for offset in (0, 32, 64, 96):
        checkpoint.save(tmp_path, made(offset=offset))
    assert [path.name[11:30] for path in sorted(tmp_path.iterdir())] == [
        "000001-000000000064",
        "000001-000000000096",
    ]


def test_a_save_that_comes_late_removes_none_that_is_newer(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, made(epoch=7))
    checkpoint.save(tmp_path, made(epoch=2))
    found = checkpoint.latest(tmp_path, silent)
    assert found is not None
    assert found.position.epoch == 7


def test_what_another_writer_is_writing_stays_and_what_was_left_long_ago_goes(
    tmp_path: Path,
) -> None:
    written, left = (tmp_path / f".checkpoint-000002-{k}.safetensors.{k}.tmp" for k in "ab")
    for path in (written, left):
        path.touch()
    checkpoint.save(tmp_path, made())
    assert written.exists()
    os.utime(left, (0, 0))
    checkpoint.save(tmp_path, made(offset=96))
    assert written.exists()
    assert not left.exists()


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(where=st.floats(0, 1, exclude_max=True), cut=st.booleans())
def test_a_damaged_newest_gives_way_to_the_one_before(
    where: float, cut: bool, tmp_path: Path
) -> None:
    for path in tmp_path.iterdir():
        path.unlink()
    checkpoint.save(tmp_path, made(offset=32))
    newest = checkpoint.save(tmp_path, made(offset=64))
    content = bytearray(newest.read_bytes())
    at = int(where * len(content))
    content[at] ^= 0x40
    newest.write_bytes(content[:at] if cut else content)
    said: list[str] = []
    found = checkpoint.latest(tmp_path, said.append)
    assert found is not None
    assert found.position.offset == 32
    assert len(said) == 1
    assert newest.name in said[0]
    assert newest.with_name(f"{newest.name}.damaged").exists()
    checkpoint.save(tmp_path, made(offset=48))  # training goes on
    again = checkpoint.latest(tmp_path, silent)
    assert again is not None
    assert again.position.offset == 48


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, made(offset=32))
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # EFBIG, as a quota would
    try:
        with pytest.raises(RunError, match=r"expected room to write.*make resume"):
            checkpoint.save(tmp_path, made(offset=64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(list(tmp_path.iterdir())) == 1
    found = checkpoint.latest(tmp_path, silent)
    assert found is not None
    assert found.position.offset == 32


@pytest.mark.parametrize("name", list(SPEC))
def test_a_checkpoint_of_another_training_is_refused(name: str, tmp_path: Path) -> None:
    wanted = {**SPEC, name: "other" if isinstance(SPEC[name], str) else 999}
    with pytest.raises(SpecError, match=f"checkpoint of {name} (other|999), got one of"):
        checkpoint.require_same(made(), wanted, tmp_path)
    checkpoint.require_same(made(), SPEC, tmp_path)


def test_a_newer_tallys_checkpoint_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SCHEMA", 99)
    checkpoint.save(tmp_path, made())
    monkeypatch.undo()
    with pytest.raises(SchemaError, match="got 99"):
        checkpoint.latest(tmp_path, silent)


def test_a_position_that_an_older_tally_cannot_read_is_of_a_schema_that_it_refuses(
    tmp_path: Path,
) -> None:
    path = checkpoint.save(tmp_path, made())
    assert isinstance(path, Path)
    _, state = checkpoint.read_tensors(path)
    assert state["position"]["loss_weight"] == 56.0  # schema 2 knew none
    assert state["position"]["steps"] == 17  # and 3 counted none where the batch was fixed
    assert state["schema"] == 4


def test_a_kill_in_mid_save_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    program = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.learning.test_checkpoint import made
from tally.learning import advance, checkpoint
offset = 0
while True:
    offset += 32
    checkpoint.save(Path(sys.argv[1]), made(offset=offset, fill=offset))
    print(offset, flush=True)
"""
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), root], stdout=subprocess.PIPE
    )
    assert process.stdout
    for _ in range(40):
        said = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    found = checkpoint.latest(tmp_path, silent)
    assert found is not None
    assert found.position.offset >= said
    assert found.tensors["model/0000.kernel"][0, 0] == found.position.offset
    for left in tmp_path.glob(".*"):
        os.utime(left, (0, 0))  # long afterwards: until then another may be writing it
    checkpoint.save(tmp_path, made(offset=found.position.offset + 32))
    assert not list(tmp_path.glob(".*")), "what the kill left half-written is cleared away"


def test_a_position_of_an_older_tally_is_read_as_it_was() -> None:
    epoch = {"epoch": 0, "loss": 0.5, "accuracy": 0.75, "seconds": 1.5}
    older = {"epoch": 1, "offset": 64, "loss_sum": 12.25, "correct": 50, "epoch_seconds": 0.5}
    older |= {"examples_trained": 1064, "history": [epoch]}
    found = Position.from_json(older)
    assert (found.loss, found.totals) == (12.25 / 64, {"correct": 50})
    assert found.history == HISTORY
    assert found.as_json().items() >= (older | {"loss_weight": 64}).items()
    known = advance.begun(found, 1000, 32)
    assert (known.batch_size, known.steps, known.progress_examples) == (32, 32 + 2, 1064)
    grown = replace(known, batch_size=64, steps=100)
    assert advance.begun(grown, 1000, 32) == grown
