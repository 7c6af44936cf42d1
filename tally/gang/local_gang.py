"""A gang of processes on this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

from tally import clock
from tally.errors import SpecError
from tally.gang.gang import WorkerChange

LEAVE_SECONDS = 5.0  # for a dismissed worker to end by itself


class LocalGang:
    """Workers as processes in this process's group, so that what ends the step ends them.

    Implements tally.gang.gang.Gang.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Nothing is started yet.

        Args:
            environment: what the workers get besides this process's own.
        """
        self._environment = dict(environment)
        self._told: Callable[[WorkerChange], None] = lambda change: None
        self._lock = threading.Lock()
        self._alive: dict[int, subprocess.Popen[bytes]] = {}
        self._waiting: list[threading.Thread] = []
        self._stopped = False

    def start(self, workers: int) -> None:
        """As Gang; a local gang never outlives its conductor, so there is none to end first."""
        self.resize(workers)

    def watch(self, told: Callable[[WorkerChange], None]) -> None:
        """As Gang."""
        self._told = told

    def resize(self, workers: int) -> None:
        """As Gang; those above get LEAVE_SECONDS to end as the coordinator has told them."""
        with self._lock:
            if self._stopped:
                return
            for index in range(workers):
                if index not in self._alive:
                    self._start(index)
            above = [process for index, process in self._alive.items() if index >= workers]
        for process in above:
            timer = threading.Timer(LEAVE_SECONDS, process.kill)
            timer.daemon = True
            timer.start()

    def end(self, worker: str, uid: str) -> None:
        """As Gang."""
        with self._lock:
            process = self._alive.get(int(worker))
        if process is not None and uid == f"local:{process.pid}":
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def move(self, machine_type: str, workers: int) -> None:
        """As Gang; there is one machine."""
        raise SpecError(
            f"resize: expected no machine type for workers on this machine, got {machine_type}; "
            "leave --machine out"
        )

    def enlarge(self, workers: int) -> int:
        """As Gang; processes have all of this machine's memory."""
        return 0

    def finish_move(self) -> None:
        """As Gang; there is never a move."""

    def end_soon(self) -> None:
        """As Gang; they are in this process's group, and their lifeline is this process."""

    def stop(self, grace_seconds: float) -> None:
        """As Gang."""
        with self._lock:
            self._stopped = True
            alive = list(self._alive.values())
        deadline = clock.now_microseconds() + int(grace_seconds * 1e6)
        for thread in self._waiting:
            thread.join(max(0.0, (deadline - clock.now_microseconds()) / 1e6))
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for thread in self._waiting:
            thread.join(LEAVE_SECONDS)

    def _start(self, index: int) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "tally.learning.worker"],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self._environment, "TALLY_WORKER": str(index)},
        )
        self._alive[index] = process
        self._told(_change(index, process, "started"))
        thread = threading.Thread(target=self._wait, args=(index, process), daemon=True)
        self._waiting.append(thread)
        thread.start()

    def _wait(self, index: int, process: subprocess.Popen[bytes]) -> None:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        with self._lock:
            self._alive.pop(index, None)
        self._told(_change(index, process, "ended", usage.ru_utime + usage.ru_stime))


def _change(
    index: int,
    process: subprocess.Popen[bytes],
    state: str,
    cpu_seconds: float | None = None,
) -> WorkerChange:
    code = process.returncode
    return WorkerChange(
        worker=str(index),
        uid=f"local:{process.pid}",
        state=state,  # type: ignore[arg-type]
        cause="" if code is None else "signal" if code < 0 else "exit",
        reason="" if code is None else _reason(code),
        exit_code=code,
        pid=process.pid,
        cpu_seconds=cpu_seconds,
        at_microseconds=clock.now_microseconds(),
    )


def _reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code} (see its log)"
    if -code == signal.SIGKILL:
        return "SIGKILL (killed by hand, or out of memory)"
    return signal.Signals(-code).name
