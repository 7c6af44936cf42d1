"""However far a training came, one place ends it: all that there is of it, in one order, once."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.learning.made_training import TOKEN, config
from helpers.made_step import made_step
from tally.errors import RunError
from tally.gang import messages as say
from tally.gang.coordinator.client import Member
from tally.gang.gang import WorkerChange
from tally.steps.conducting import END_SECONDS, conduct
from tally.steps.step import Step

FINISHED = say.Finished(examples_trained=7, loss=0.5, seconds=1.0)


class Gang:
    """One worker that says one thing and ends.

    Attributes:
        stopped: each time: the grace, and whether coordinator and control file were still there.
        raised: what ended the training early.
    """

    raised: BaseException | None = None

    def __init__(self, folder: Path, address: str, says: say.Message | None, fails: str) -> None:
        self.address, self._says, self._fails = address, says, fails
        self._control = folder / "conductor.json"
        self._threads: list[threading.Thread] = []
        self.stopped: list[tuple[float, bool, bool]] = []

    def watch(self, told: Callable[[WorkerChange], None]) -> None: ...
    def resize(self, workers: int) -> None: ...
    def end_soon(self) -> None: ...

    def start(self, workers: int) -> None:
        if self._fails == "start":
            raise RunError("the cluster says no")
        self._threads.append(threading.Thread(target=self._live, daemon=True))
        self._threads[0].start()

    def stop(self, grace_seconds: float) -> None:
        self.stopped.append((grace_seconds, listens(self.address), self._control.exists()))
        for thread in self._threads:
            thread.join(20)
        if self._fails == "stop":
            raise RunError("the cluster does not answer")

    def _live(self) -> None:
        member = Member(self.address, TOKEN, "0", "uid-0")
        member.join()
        member.ready("127.0.0.1:1")
        member.next(0, 30)
        if self._says is None:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        member.tell(say.encode(self._says))
        member.leave("finished")
        member.close()


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def own_handler(number: int, frame: object) -> None:
    """The step's own."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Step]:
    before = signal.signal(signal.SIGTERM, own_handler)
    yield made_step(tmp_path)
    assert signal.signal(signal.SIGTERM, before) is own_handler
    assert not (tmp_path / "conductor.json").exists()


def conducted(here: Step, says: say.Message | None = FINISHED, fails: str = "") -> Gang:
    """The gang of a training that has ended."""
    gangs: list[Gang] = []

    def made(address: str) -> Gang:
        gangs.append(Gang(here.folder, address, says, fails))
        if fails == "make":
            raise RunError("no such namespace")
        return gangs[0]

    given = config(here.folder, here.folder, cores=1)
    try:
        assert conduct(here, given, 1, TOKEN, made) == FINISHED
    except (RunError, SystemExit) as error:
        gangs[0].raised = error
    assert not listens(gangs[0].address)
    return gangs[0]


def test_a_training_that_is_done_gives_its_workers_time_to_leave(here: Step) -> None:
    gang = conducted(here)
    assert gang.raised is None
    assert gang.stopped == [(END_SECONDS, False, True)]


def test_a_training_that_fails_ends_its_workers_at_once(here: Step) -> None:
    gang = conducted(here, say.Failed("the disk is full", 1))
    assert str(gang.raised) == "the disk is full"
    assert gang.stopped == [(0.0, False, True)]


def test_a_training_that_is_told_to_end_ends_with_143(here: Step) -> None:
    gang = conducted(here, None)
    assert isinstance(gang.raised, SystemExit) and gang.raised.code == 143
    assert gang.stopped == [(0.0, False, True)]


@pytest.mark.parametrize(
    ("fails", "error", "stopped"),
    [
        ("make", "no such namespace", []),
        ("start", "the cluster says no", [(END_SECONDS, False, True)]),
        ("stop", "the cluster does not answer", [(END_SECONDS, False, True)]),
    ],
)
def test_what_fails_on_the_way_leaves_nothing_of_the_rest(
    here: Step, fails: str, error: str, stopped: list[tuple[float, bool, bool]]
) -> None:
    gang = conducted(here, fails=fails)
    assert str(gang.raised) == error
    assert gang.stopped == stopped
