"""Names of runs, and which process owns one."""

import contextlib
import os
import secrets
import time

import psutil


def new_run_id() -> str:
    """A UUIDv7 (RFC 9562): sortable by time, no two alike."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | (0x7 << 76) | (secrets.randbits(12) << 64)
    value |= (0b10 << 62) | secrets.randbits(62)
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def owner() -> str:
    """This process, told apart from a later one with the same id."""
    return f"{os.getpid()}:{psutil.Process().create_time():.2f}"


def living_owner(text: str) -> int | None:
    """The process id of a run's owner, None when it is gone."""
    pid, _, created = text.partition(":")
    with contextlib.suppress(psutil.Error, ValueError):
        process = psutil.Process(int(pid))
        if f"{process.create_time():.2f}" == created and process.status() != psutil.STATUS_ZOMBIE:
            return process.pid
    return None
