"""A profile is the real training for some seconds, with one worker and two; it leaves nothing."""

import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from helpers.learning.made_training import config, pictures
from tally.errors import TallyError
from tally.learning.profiling import Wanted, measure, trimmed


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if p.is_running()]


def test_one_and_two_workers_are_measured_and_nothing_is_left(tmp_path: Path) -> None:
    dataset = pictures(tmp_path / "shapes")
    gang = replace(config(tmp_path, dataset), max_workers=2, cores=1)
    before = set(children())
    (found,) = measure([Wanted(config=gang, sizes=(2, 1))], 90.0, 1.0)
    assert [one.workers for one in found] == [2, 1]
    for one in found:
        assert 0 < one.step_seconds < 1 and one.steps > 5 and one.spread >= 0
    two, alone = found
    assert two.start_seconds > 0.5 and alone.start_seconds == 0
    assert (two.examples_per_worker, alone.examples_per_worker) == (16, 32)
    assert two.sync_seconds is not None and two.sync_seconds < two.step_seconds
    assert alone.sync_seconds is None
    assert set(children()) == before
    assert not (tmp_path / "checkpoints").exists() and not (tmp_path / "model").exists()


@pytest.mark.timing
def test_a_profile_ends_in_time_with_what_it_has(tmp_path: Path) -> None:
    dataset = pictures(tmp_path / "shapes")
    given = config(tmp_path, dataset)
    began = time.monotonic()
    assert measure([Wanted(config=given, sizes=(1,))] * 2, 0.5, 1.0) == [[], []]
    assert time.monotonic() - began < 5


def test_a_model_that_cannot_train_is_told_in_its_own_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("def model():\n    raise ValueError('no layers today')\n")
    given = replace(config(tmp_path, pictures(tmp_path / "shapes")), model=str(broken))
    with pytest.raises(TallyError, match="no layers today"):
        measure([Wanted(config=given, sizes=(1,))], 60.0, 1.0)


def test_bursts_of_other_programs_are_left_out() -> None:
    assert trimmed([1.0] * 9 + [50.0]) == [1.0] * 9
    assert trimmed([3.0, 1.0, 2.0]) == [3.0, 1.0, 2.0]
