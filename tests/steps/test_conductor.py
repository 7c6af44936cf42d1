"""The conductor with workers that do not get anywhere."""

import signal
import threading
from pathlib import Path

import pytest

from helpers.learning.made_training import TOKEN, config
from helpers.made_step import made_step
from tally.errors import RunError
from tally.gang.coordinator.client import Member
from tally.gang.coordinator.events import Generation
from tally.gang.rules import FUTILE
from tally.steps.conducting import conduct


class Apart:
    """A gang whose workers reach the coordinator and not each other: no generation does a step."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._threads: list[threading.Thread] = []
        self.generations = 0

    def start(self, workers: int) -> None:
        for index in range(workers):
            thread = threading.Thread(target=self._live, args=(str(index),), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _live(self, worker: str) -> None:
        member = Member(self._address, TOKEN, worker, f"apart-{worker}")
        member.join()
        member.ready("127.0.0.1:1")
        generation = 0
        while isinstance(order := member.next(generation, 30), Generation):
            generation = order.membership.generation
            self.generations = max(self.generations, generation)
            member.rest(generation, 0, False)
        member.close()

    def watch(self, told: object) -> None: ...
    def resize(self, workers: int) -> None: ...
    def end(self, worker: str, uid: str) -> None: ...

    def stop(self, grace_seconds: float) -> None:
        for thread in self._threads:
            thread.join(grace_seconds)


def test_workers_that_never_reach_each_other_end_the_run_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    here = made_step(tmp_path)
    given = config(tmp_path, tmp_path, max_workers=2, cores=1)
    gangs: list[Apart] = []

    def made(address: str) -> Apart:
        gangs.append(Apart(address))
        return gangs[0]

    with pytest.raises(RunError, match=f"{FUTILE} generations without a step"):
        conduct(here, given, 2, TOKEN, made)
    assert gangs[0].generations >= FUTILE
