"""The real `tally` command in processes of its own, and what it left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

TALLY = [sys.executable, "-m", "tally"]
QUICK = ["--set", "epochs=1", "--set", "augment=1", "--set", "candidates="]  # none: 4 s less


def tally(*arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess:
    """Run a command to its end."""
    return subprocess.run(
        [*TALLY, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )


def submit_json(*arguments: str) -> dict[str, Any]:
    """Submit, expect success, and return what --json says."""
    done = tally("submit", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert "prepare" in done.stderr  # progress; stdout is JSON only
    return json.loads(done.stdout)


def events(home: Path, run_id: str) -> list[dict[str, Any]]:
    """A run's events so far."""
    path = home / "runs" / run_id / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def wait_until(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Look until `true` gives something; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"nothing in {seconds} s"
        time.sleep(0.02)
    return found


class Live:
    """A submit that is running, in a process group of its own."""

    def __init__(self, home: Path, *arguments: str, run_id: str = "") -> None:
        self.home = home
        before = {path.name for path in (home / "runs").glob("*")}
        self.process = subprocess.Popen(
            [*TALLY, *arguments] if run_id else [*TALLY, "submit", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        new = (
            [run_id]
            if run_id
            else wait_until(
                lambda: list({path.name for path in (home / "runs").glob("*")} - before)
            )
        )
        self.run_id = new[0]

    @classmethod
    def resuming(cls, home: Path, run_id: str) -> "Live":
        """A resume that is running."""
        return cls(home, "resume", run_id, run_id=run_id)

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes():
            process.kill()
        self.process.communicate()

    def until(self, event: str, count: int = 1, step: str = "train") -> None:
        """Wait for the count-th event of a kind."""

        def there() -> bool:
            assert self.process.poll() is None, self.process.stdout.read()
            seen = [e for e in events(self.home, self.run_id) if e["event"] == event]
            return len([e for e in seen if e["step"] == step]) >= count

        wait_until(there)

    def processes(self) -> list[psutil.Process]:
        """Every living process of the run: submit, engine, steps, workers."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("TALLY_RUN_ID") == self.run_id
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and (ours or process.pid == self.process.pid):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def worker(self) -> psutil.Process:
        """The worker's process."""
        return next(p for p in self.processes() if "tally.learning.worker" in p.cmdline())

    def conductor(self) -> psutil.Process:
        """The train step's process: the parent of the workers."""
        return self.worker().parent()

    def gone(self) -> bool:
        """Whether submit has been reaped and no process of the run lives."""
        return self.process.poll() is not None and not self.processes()

    def end(self, how: Callable[["Live"], object]) -> float:
        """Do something to it; how many seconds until no process of the run lives."""
        began = time.monotonic()
        how(self)
        wait_until(self.gone, 30)
        return time.monotonic() - began


def interrupt_group(live: Live) -> None:
    """What a terminal does on Ctrl-C."""
    os.killpg(live.process.pid, signal.SIGINT)
