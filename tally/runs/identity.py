"""Names of runs, and which process owns one."""

import contextlib
import os
import secrets
import time

import psutil

from tally import lifeline
from tally.steps.recorder import boot_id


def new_run_id() -> str:
    """A UUIDv7 (RFC 9562): sortable by time, no two alike."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | (0x7 << 76) | (secrets.randbits(12) << 64)
    value |= (0b10 << 62) | secrets.randbits(62)
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def owner() -> str:
    """This process, told apart from a later one with the same id."""
    return _name(os.getpid())


def living_owner(text: str) -> int | None:
    """The process id of a run's owner, None when it is gone."""
    pid = text.partition(":")[0]
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        alive = psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
        if alive and _name(int(pid)) == text:
            return int(pid)
    return None


def _name(pid: int) -> str:
    """`pid:start:boot`; no wall clock is in it, which may be stepped while the process lives."""
    try:
        began = str(lifeline.start_ticks(pid))
    except FileNotFoundError:  # a system without /proc
        began = f"{psutil.Process(pid).create_time():.0f}"
    return f"{pid}:{began}:{boot_id()}"
