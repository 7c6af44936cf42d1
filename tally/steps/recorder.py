"""Usage of this machine's processes, written while they live: opened, kept alive, closed."""

import contextlib
import functools
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from tally import clock, lifeline
from tally.costing.usage import Phase, Usage
from tally.machines.catalogue import machine
from tally.runcontext import RunContext

HEARTBEAT_SECONDS = 2.0


@functools.cache
def boot_id() -> str:
    """Tells this boot of this machine from others, so that a process id means one process."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return str(int(psutil.boot_time()))


@functools.cache
def node_id() -> str:
    """This machine, across boots."""
    with contextlib.suppress(OSError):
        if text := Path("/etc/machine-id").read_text().strip():
            return text
    return f"{os.uname().nodename}-{uuid.getnode():x}"


def started_microseconds(pid: int) -> int:
    """When a living process began, on the run's clock, to the kernel's tick of 10 ms.

    psutil's create_time adds the boot time, which Linux tells in whole seconds only.
    """
    try:
        since_boot = lifeline.start_ticks(pid) / os.sysconf("SC_CLK_TCK")
        age_seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot
    except (OSError, AttributeError):
        age_seconds = time.time() - psutil.Process(pid).create_time()
    return clock.now_microseconds() - int(max(0.0, age_seconds) * 1e6)


def peak_bytes(pid: int) -> int:
    """The most memory that a living process ever had resident, as Linux keeps it; 0 elsewhere."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def local_usage(
    run: RunContext, *, step: str, worker: str, pid: int, container: str, phase: Phase, start: int,
    cores: float,
) -> Usage:  # fmt: skip
    """A row of a run on this machine, open, at today's price.

    Args:
        run: whose.
        step: the step's name.
        worker: its name in the step, "" for the step's own process.
        pid: the process.
        container: "submit", "step" or "worker".
        phase: of the interval.
        start: microseconds on the run's clock.
        cores: held by it; 0 for processes that only wait (submit, a conductor).
    """
    here = machine("local")
    return Usage(
        run_id=run.run_id,
        pipeline=run.pipeline,
        attempt=run.attempt,
        step=step,
        worker=worker,
        pod_uid=f"{os.uname().nodename}:{pid}:{boot_id()}",
        node_uid=node_id(),
        container=container,
        phase=phase,
        start_microseconds=start,
        heartbeat_at_microseconds=start,
        cpu_request_cores=cores,
        price_usd_per_hour=here.price_usd_per_hour,
        list_price_usd_per_hour=here.list_price_usd_per_hour,
        software_usd_per_hour=here.software_usd_per_hour,
        catalogue_version=here.version,
    )


@dataclass
class _Open:
    row: Usage
    process: psutil.Process | None
    cpu_seconds_at_start: float
    sampled_at: int
    resident_bytes: int = 0
    byte_seconds: float = 0.0
    peak_bytes: int = 0


class Recorder:
    """Writes rows to the ledger from a thread of its own, so that the work never waits for it.

    A row is written when it opens, again at every heartbeat with what was used so far, and last
    when it closes; a crash leaves it open, and the next reader ends it at its heartbeat.
    """

    def __init__(self, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self._heartbeat_seconds = heartbeat_seconds
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._open: dict[str, _Open] = {}
        self._unwritten: list[Usage] = []
        self._flushed: list[threading.Event] = []
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self.cpu_seconds = 0.0
        self.error: Exception | None = None
        self._thread.start()

    def open(self, row: Usage, pid: int) -> Usage:
        """Begin a row of process `pid`; the row itself is what `close` takes."""
        self._jobs.put(lambda: self._opened(row, pid))
        return row

    def close(self, row: Usage, end: int, cpu_seconds: float | None = None) -> None:
        """End a row at `end`; cpu_seconds is the life's exact total where the caller knows it."""
        self._jobs.put(lambda: self._closed(row, end, cpu_seconds))

    def waited(self, row: Usage, seconds: float) -> None:
        """Say how long the holder of an open row has waited in barriers so far."""
        self._jobs.put(lambda: self._waited(row, seconds))

    def flush(self, timeout_seconds: float = 5.0) -> None:
        """Wait until all that was said so far is in the ledger."""
        written = threading.Event()
        self._jobs.put(lambda: self._flushed.append(written))
        written.wait(timeout_seconds)

    def write(self, rows: list[Usage]) -> None:
        """Write rows that were made elsewhere."""
        self._jobs.put(lambda: self._unwritten.extend(rows))

    def stop(self, timeout_seconds: float = 1.5) -> None:
        """Write what is waiting and end."""
        self._jobs.put(None)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        ledger, last = None, False
        while not last:
            last = self._do_jobs()
            alive = [self._sample(opened) for opened in self._open.values()]
            try:
                from tally.costing.ledger import open_ledger  # seconds, when others load: not first

                ledger = ledger or open_ledger()
                ledger.write_usage([*self._unwritten, *alive])
                self._unwritten.clear()
                self.error = None
                while self._flushed:
                    self._flushed.pop().set()
            except Exception as error:  # kept for the next heartbeat; told if it is the last
                self.error = error
            self.cpu_seconds = time.thread_time()

    def _do_jobs(self) -> bool:
        """Wait for a job or the next heartbeat, do what is there; True when told to stop."""
        with contextlib.suppress(queue.Empty):
            job = self._jobs.get(timeout=self._heartbeat_seconds)
            while job is not None:
                job()
                job = self._jobs.get_nowait()
            return True
        return False

    def _opened(self, row: Usage, pid: int) -> None:
        process, cpu_seconds, resident = None, 0.0, 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            cpu_seconds = _cpu_seconds(process)
            resident = process.memory_info().rss
        opened = _Open(row, process, cpu_seconds, row.start_microseconds, resident)
        opened.peak_bytes = resident
        self._open[row.usage_id] = opened

    def _closed(self, row: Usage, end: int, cpu_seconds: float | None) -> None:
        opened = self._open.pop(row.usage_id)
        last = self._sample(opened, cpu_seconds)
        self._unwritten.append(replace(last, end_microseconds=end, heartbeat_at_microseconds=end))

    def _waited(self, row: Usage, seconds: float) -> None:
        if opened := self._open.get(row.usage_id):
            opened.row = replace(opened.row, wait_seconds=seconds)

    def _sample(self, opened: _Open, cpu_seconds: float | None = None) -> Usage:
        """The row as of now: its process's CPU time and the integral of its memory so far."""
        now = clock.now_microseconds()
        used = opened.row.cpu_used_core_seconds
        before = opened.resident_bytes  # a process that ended has none to read: it held as before
        with contextlib.suppress(psutil.Error):
            if opened.process is not None:
                used = max(used, _cpu_seconds(opened.process) - opened.cpu_seconds_at_start)
                opened.resident_bytes = opened.process.memory_info().rss
                opened.peak_bytes = max(
                    opened.peak_bytes, opened.resident_bytes, peak_bytes(opened.process.pid)
                )
        held = (before + opened.resident_bytes) / 2
        opened.byte_seconds += held * max(0, now - opened.sampled_at) / 1e6
        if cpu_seconds is not None:
            used = max(used, cpu_seconds - opened.cpu_seconds_at_start)
        opened.sampled_at = now
        opened.row = replace(
            opened.row,
            heartbeat_at_microseconds=now,
            cpu_used_core_seconds=used,
            memory_used_byte_seconds=opened.byte_seconds,
            memory_peak_bytes=opened.peak_bytes,
        )
        return opened.row


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
