"""Whose start is a start over: who replaces one that was wanted, not who a resize adds."""

from pathlib import Path
from typing import Any

import pytest

from tally.gang.gang import WorkerChange
from tally.steps.recorder import Recorder
from tally.steps.step import Step
from tally.steps.workforce import Workforce


class Gang:
    """Does nothing; has twice the memory to give."""

    def resize(self, workers: int) -> None: ...
    def finish_move(self) -> None: ...
    def move(self, machine_type: str, workers: int) -> None: ...

    def enlarge(self, workers: int) -> int:
        return 2 << 30


@pytest.fixture
def force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workforce:
    monkeypatch.setenv("TALLY_RUN_ID", "r")
    gang: Any = Gang()
    made = Workforce(Step("train", "r", 1, tmp_path, Recorder()), gang, 2, 0.0)
    for worker in ("0", "1"):
        made.started(WorkerChange(worker=worker, uid=f"first-{worker}", state="started"))
    return made


def ended(worker: str, **how: Any) -> WorkerChange:
    return WorkerChange(worker=worker, uid=f"first-{worker}", state="ended", **how)


def test_who_a_resize_adds_replaces_nobody(force: Workforce) -> None:
    assert force.resize(3, "")
    assert not force.is_replacement("2")
    assert force.resize(2, "")
    force.ended(ended("2", cause="exit"))  # as it was asked to
    assert force.resize(3, "")
    assert not force.is_replacement("2")


def test_who_moves_to_another_machine_type_replaces_nobody(force: Workforce) -> None:
    assert force.resize(2, "n2-standard-4")
    assert not force.is_replacement("1.0")


def test_who_follows_one_that_was_wanted_replaces_it_once(force: Workforce) -> None:
    force.ended(ended("1", cause="eviction", reason="Evicted"))
    assert force.is_replacement("1")
    assert not force.is_replacement("0")
    force.started(WorkerChange(worker="1", uid="second-1", state="started"))
    assert not force.is_replacement("1")


def test_all_that_begin_again_with_more_memory_replace_those_before(force: Workforce) -> None:
    force.ended(ended("1", cause="oom", reason="OOMKilled", memory_limit_bytes=1 << 30))
    assert force.is_replacement("1.0")
    assert force.is_replacement("1.1")
