"""Processes that end together: steps with submit, a worker with its conductor."""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def start_ticks(pid: int) -> int:
    """When a process began, in the kernel's ticks since boot: with its id, it names the process.

    Raises:
        OSError: no such process, or no /proc.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19])  # the 22nd of proc(5): starttime


def when_gone(pid: int, action: Callable[[], None]) -> None:
    """Call `action` in a thread of its own once process `pid` is gone.

    Waits on a pidfd where the system has them (Linux), else looks twice a second.
    """

    def watch() -> None:
        _wait_gone(pid)
        action()

    threading.Thread(target=watch, name=f"lifeline-{pid}", daemon=True).start()


def end_with(pid: int, grace_seconds: float = 3.0) -> None:
    """From now on, SIGTERM this process once `pid` is gone, and end it `grace_seconds` later."""

    def end() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_seconds)
        os._exit(143)

    when_gone(pid, end)


def end_group(group: int, grace_seconds: float = 2.0) -> None:
    """SIGTERM each process of a group once, wait for their end, SIGKILL what is left.

    Args:
        group: the process group's id; this process is spared where it is a member.
        grace_seconds: how long its processes have for a checkpoint and their usage.
    """
    deadline = time.monotonic() + grace_seconds
    told: set[int] = set()
    while (alive := _members(group)) and time.monotonic() < deadline:
        for process in alive:
            if process.pid not in told:  # a pipeline may start its exit task meanwhile
                told.add(process.pid)
                with contextlib.suppress(psutil.Error):
                    process.terminate()
        time.sleep(0.02)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _members(group: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if (
                process.pid != os.getpid()
                and os.getpgid(process.pid) == group
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
    return found


def _wait_gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        while psutil.pid_exists(pid):
            time.sleep(0.5)
        return
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    poller.poll()
    os.close(descriptor)
