"""Conversion to .tflite in a process of its own: a crash of the converter is one job's failure."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import IO

DEADLINE_SECONDS = 300.0  # of one job


@dataclass(frozen=True)
class Job:
    """One conversion.

    Attributes:
        saved_model: folder of the SavedModel.
        quantisation: as Recipe's.
        calibration: .npy of training examples as the model takes them; int8 needs it.
        float_file: the float32 .tflite of the same model, which weights8 and weights4 start from.
        file: where the .tflite goes.
    """

    saved_model: str
    quantisation: str
    calibration: str
    float_file: str
    file: str


class Converter:
    """The process that converts, and the next one where it dies.

    Args:
        ahead: begin it now, so that it has TensorFlow ready by the time that there are jobs.
    """

    def __init__(self, *, ahead: bool = True) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # __exit__ closes it
        self._process: subprocess.Popen[str] | None = None
        if ahead:
            self._start()

    def __enter__(self) -> "Converter":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._log.close()

    def convert(
        self,
        jobs: Sequence[Job],
        ended: Callable[[Job, str], None] = lambda job, why: None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> dict[str, str]:
        """Convert each in order; where the process dies, the next one goes on with those left.

        Args:
            jobs: float32 before what starts from it.
            ended: gets each job as it ends, and why it failed or "".
            deadline_seconds: of one job; after it the process is killed.

        Returns:
            By job's file why it was not made, "" for made.
        """
        left, found = list(jobs), dict[str, str]()
        while left:
            for job, why in self._some(left, deadline_seconds):
                found[job.file] = why
                ended(job, why)
                left.remove(job)
        return found

    def _some(self, jobs: Sequence[Job], deadline_seconds: float) -> list[tuple[Job, str]]:
        """What one process makes of the jobs; all, or up to the one it died of."""
        results: list[tuple[Job, str]] = []
        process = self._process or self._start()
        try:
            late = _hear(process, jobs, results, deadline_seconds)
        finally:
            code = self._end()
        if len(results) < len(jobs):
            self._log.seek(0)
            last = self._log.read()[-2000:].decode(errors="replace").strip().splitlines()
            why = f"took more than {deadline_seconds:g} s" if late else _death(code, last)
            results.append((jobs[len(results)], f"the converter {why}"))
        return results

    def _start(self) -> "subprocess.Popen[str]":
        self._log.seek(0)
        self._log.truncate()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tally.compression.converting", str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        return self._process

    def _end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        process.communicate()
        return process.returncode


def _hear(
    process: "subprocess.Popen[str]",
    jobs: Sequence[Job],
    results: list[tuple[Job, str]],
    deadline_seconds: float,
) -> bool:
    """Hand the jobs over and add each one's end to results; whether one took too long."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it died before; then it says nothing either
        process.stdin.write(json.dumps([asdict(job) for job in jobs]) + "\n")
        process.stdin.flush()
    lines: queue.Queue[str] = queue.Queue()
    out = process.stdout

    def read() -> None:
        for line in out:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    until = time.monotonic() + deadline_seconds
    while len(results) < len(jobs):
        try:
            line = lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return True
        if not line:
            process.wait(timeout=30)
            return False
        told = json.loads(line)
        if "begun" not in told:
            results.append((jobs[len(results)], told.get("why", "")))
            until = time.monotonic() + deadline_seconds
    return False


def _death(code: int, last: list[str]) -> str:
    """How a process ended, in words."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with {code}: {last[-1][:300] if last else 'no word'}"
