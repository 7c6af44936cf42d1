"""One command with a deadline: its output is shown and kept, and nothing of it is left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

KEPT_LINES = 200
_PR_SET_CHILD_SUBREAPER = 36
_LEAVE_SECONDS = 10.0


@dataclass(frozen=True)
class Ended:
    """How a command ended; `code` is None where its deadline ended it."""

    code: int | None
    seconds: float
    tail: Sequence[str]


def adopt() -> None:
    """From now on whatever loses its parent below this process becomes its child, on Linux."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    seconds: float,
    *,
    record: Path | None = None,
    stays: bool = False,
) -> Ended:
    """Run to its end or its deadline.

    At the deadline every process that listens to SIGUSR1 writes its stacks, then all are ended.

    Args:
        record: beside it processes write their stacks; shown at the deadline.
        stays: what it left running is left alone.
    """
    before = set(_below())
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        start_new_session=True,
    )  # fmt: skip
    tail: deque[str] = deque(maxlen=KEPT_LINES)
    reader = threading.Thread(target=_show, args=(process, tail), daemon=True)
    reader.start()
    code: int | None = None
    try:
        while (code := process.poll()) is None and time.monotonic() - began < seconds:
            _bury(process.pid)
            time.sleep(0.2)
        if code is None:
            _dump(set(_below()) - before, record)
    finally:
        if code is None or not stays:
            end(set(_below()) - before)
    reader.join(5)
    return Ended(code, time.monotonic() - began, list(tail))


def end(processes: set[psutil.Process]) -> None:
    """Ask them to leave; then kill what is left, and what it started meanwhile."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=_LEAVE_SECONDS)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
    psutil.wait_procs(left, timeout=_LEAVE_SECONDS)


def left() -> set[psutil.Process]:
    """All that still runs below this process."""
    return set(_below())


def _below() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _bury(spared_pid: int) -> None:
    """Wait for what was adopted and has ended: whoever asks by its number is told that it runs."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if child.pid != spared_pid and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def _show(process: subprocess.Popen[str], tail: deque[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        tail.append(line.rstrip("\n"))


def _dump(processes: set[psutil.Process], record: Path | None) -> None:
    lines = ["", "--- at the deadline these ran:"]
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            lines.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
            if _listens(process.pid):
                os.kill(process.pid, signal.SIGUSR1)
    print("\n".join(lines), flush=True)
    time.sleep(1.0)  # the stacks are being written
    for stacks in sorted(record.parent.glob(f"{record.name}.*.stacks")) if record else ():
        if text := stacks.read_text(errors="replace"):
            print(f"--- stacks of {stacks.suffixes[-2][1:]}\n{text}", flush=True)


def _listens(pid: int) -> bool:
    """Whether it catches SIGUSR1, which would end it otherwise."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1)
    return False
