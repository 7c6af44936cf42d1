"""A worker that is killed for its memory: once more with more, then one line that says what to do.

Its workers are threads here; tests/cluster has a real kubelet kill a real one.
"""

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.learning.made_training import TOKEN, config
from helpers.made_step import made_step
from tally.errors import RunError
from tally.gang import messages as say
from tally.gang.coordinator.client import Member
from tally.gang.gang import WorkerChange
from tally.gang.replacing import DEATHS
from tally.steps.conducting import conduct

MIB = 1 << 20


class Pods:
    """A gang whose workers are killed unless they have enough; what was asked of it."""

    def __init__(self, address: str, limit: int, more: int, needs: int) -> None:
        self._address, self._limit, self._more, self._needs = address, limit, more, needs
        self._told: Callable[[WorkerChange], None] = lambda change: None
        self._threads: list[threading.Thread] = []
        self.asked: list[str] = []
        self._move = self._lives = 0

    def watch(self, told: Callable[[WorkerChange], None]) -> None:
        self._told = told

    def start(self, workers: int) -> None:
        self.asked.append(f"start {workers}")
        self._begin(workers)

    def resize(self, workers: int) -> None:
        self.asked.append(f"resize {workers}")
        self._begin(workers)

    def enlarge(self, workers: int) -> int:
        self.asked.append(f"enlarge {workers}")
        if self._more:
            self._limit, self._move = self._more, self._move + 1
            self._begin(workers)
        return self._more

    def finish_move(self) -> None:
        self.asked.append("finish_move")

    def end(self, worker: str, uid: str) -> None: ...
    def end_soon(self) -> None: ...

    def stop(self, grace_seconds: float) -> None:
        for thread in self._threads:
            thread.join(grace_seconds)

    def _begin(self, workers: int) -> None:
        for index in range(workers):
            worker = f"{self._move}.{index}" if self._move else str(index)
            if not any(thread.name == worker and thread.is_alive() for thread in self._threads):
                self._lives += 1
                given: Any = (worker, f"uid-{self._lives}", self._limit)
                thread = threading.Thread(target=self._live, args=given, name=worker, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _live(self, worker: str, uid: str, limit: int) -> None:
        life: dict[str, Any] = {"worker": worker, "uid": uid}
        self._told(WorkerChange(**life, state="started"))
        if limit < self._needs:
            reason = f"OOMKilled: it used more memory than its limit of {limit // MIB}Mi"
            killed = {"cause": "oom", "reason": reason, "memory_limit_bytes": limit}
            self._told(WorkerChange(**life, state="ended", **killed))
            return
        member = Member(self._address, TOKEN, worker, uid)
        member.join()
        member.ready("127.0.0.1:1")
        member.next(0, 30)
        done = say.Finished(examples_trained=7, loss=0.5, seconds=1.0)
        member.tell(say.encode(done))
        member.leave("finished")
        member.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Conduct such a gang; the gang, and what came of it."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    here = made_step(tmp_path)

    def conducted(**memory: int) -> tuple[Pods, Any]:
        gangs: list[Pods] = []

        def made(address: str) -> Pods:
            gangs.append(Pods(address, **memory))
            return gangs[0]

        try:
            done = conduct(here, config(tmp_path, tmp_path, cores=1), 1, TOKEN, made)
        except RunError as error:
            return gangs[0], str(error)
        return gangs[0], done

    return conducted


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] in kinds]


def test_an_oom_kill_begins_the_gang_once_more_with_more_and_says_so(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    gang, done = run(limit=384 * MIB, more=2048 * MIB, needs=700 * MIB)
    assert done.examples_trained == 7
    # with nobody left the first Job goes at once: Kubernetes would start the killed one again
    assert gang.asked[:3] == ["start 1", "enlarge 1", "finish_move"]
    assert gang.asked.count("enlarge 1") == 1
    note, enlarged = events(tmp_path, "note", "enlarged")
    assert note["message"] == (
        "worker 0 ended: OOMKilled: it used more memory than its limit of 384Mi; once, its gang "
        "gets 2048 MiB a worker instead"
    )
    assert (enlarged["before_bytes"], enlarged["memory_bytes"]) == (384 * MIB, 2048 * MIB)


def test_a_second_oom_kill_ends_the_run_with_what_to_do(run: Callable[..., Any]) -> None:
    gang, error = run(limit=384 * MIB, more=2048 * MIB, needs=4096 * MIB)
    assert error == (
        "train: expected worker 1.0 to fit into 2048 MiB of memory, which it got after a first OOM "
        "kill, got OOMKilled: it used more memory than its limit of 2048Mi; take a larger machine "
        'type (SET="machine_type=…") or a smaller batch_size, then `make resume RUN=r` goes on '
        "from the last checkpoint"
    )
    assert gang.asked.count("enlarge 1") == 1


def test_a_worker_that_has_a_whole_machine_is_replaced_and_the_error_says_what_to_do(
    run: Callable[..., Any],
) -> None:
    gang, error = run(limit=2048 * MIB, more=0, needs=4096 * MIB)
    assert gang.asked.count("resize 1") == DEATHS - 1
    assert f"{DEATHS} times without a step between; take a larger machine type" in error
