"""Usage of real processes, in a real ledger."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.made_step import context
from tally import clock, lifeline
from tally.costing.ledger import open_ledger
from tally.steps.recorder import Recorder, local_usage, started_microseconds

BUSY = "import time; spike = bytearray(b'x') * 200_000_000; del spike\n"
BUSY += "data = bytearray(50_000_000); end = time.monotonic() + 1.0\n"
BUSY += "while time.monotonic() < end: pass"


def opened(recorder: Recorder, pid: int):
    row = local_usage(
        context(Path()), step="train", worker="0", pid=pid, container="worker", phase="work",
        start=clock.now_microseconds(), cores=1.0,
    )  # fmt: skip
    return recorder.open(row, pid)


def until(true) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_cpu_and_memory_of_a_process_are_recorded() -> None:
    open_ledger()  # made beforehand, so that the first sample comes early in a short life
    recorder = Recorder(heartbeat_seconds=0.1)
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    row = opened(recorder, process.pid)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    recorder.close(row, clock.now_microseconds(), usage.ru_utime + usage.ru_stime)
    recorder.stop(10)
    assert recorder.error is None
    (found,) = open_ledger().usage(["r"])
    seconds = (found.stop_microseconds - found.start_microseconds) / 1e6
    assert found.end_microseconds is not None
    assert found.cpu_used_core_seconds == pytest.approx(usage.ru_utime + usage.ru_stime, abs=0.05)
    assert 20e6 * seconds < found.memory_used_byte_seconds < 200e6 * seconds
    assert 200e6 < found.memory_peak_bytes <= usage.ru_maxrss << 10  # no heartbeat saw the spike


def test_a_row_is_written_when_it_opens_and_kept_alive() -> None:
    recorder = Recorder(heartbeat_seconds=0.05)
    opened(recorder, os.getpid())
    ledger = open_ledger()
    until(lambda: ledger.usage(["r"]))
    first = ledger.usage(["r"])[0].heartbeat_at_microseconds
    until(lambda: ledger.usage(["r"])[0].heartbeat_at_microseconds > first + 200_000)
    assert ledger.usage(["r"])[0].end_microseconds is None
    recorder.stop(10)


def test_a_ledger_that_cannot_be_written_ends_no_training(
    tally_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_LEDGER_URL", "sqlite:////proc/nowhere/ledger.db")
    recorder = Recorder(heartbeat_seconds=0.05)
    row = opened(recorder, os.getpid())
    until(lambda: recorder.error is not None)
    recorder.close(row, clock.now_microseconds())
    recorder.stop(10)


def test_a_process_start_is_known_to_a_tick() -> None:
    before = clock.now_microseconds()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    after = clock.now_microseconds()
    found = started_microseconds(process.pid)
    process.communicate(b"\n")
    assert before - 20_000 <= found <= after + 20_000


def test_a_process_ends_with_another() -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    code = f"from tally import lifeline; lifeline.end_with({other.pid}); print('up', flush=True)\n"
    code += "import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    other.kill()
    other.wait()
    assert process.wait(5) == -15


def test_a_group_that_ignores_its_end_is_killed() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\n"
    code += "time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    lifeline.end_group(process.pid, grace_seconds=0.2)
    assert process.wait(5) == -9
