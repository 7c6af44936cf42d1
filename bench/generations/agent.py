"""The agent's side: generations run one after another in processes that the nursery keeps.

A worker's agent (its main process, with gRPC and threads) starts the nursery before anything else,
by exec, so that no fork ever copies a thread. Each generation runs in a child of its own; with
`reuse`, in the one that served the generation before as long as that lives.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Literal

from bench.generations import packets
from bench.generations.shared import SharedState
from tally.errors import RunError
from tally.gang.collective import Membership


@dataclass(frozen=True)
class Outcome:
    """How a generation ended for this worker.

    Attributes:
        end: "rested": the child committed its state and waits for the next generation; "left": its
            body returned; "died": it failed, was killed, or had to be.
        exit_code: of a child that has left or died; negative: the signal that killed it.
        message: what a body that failed said.
        same_process: whether the child had served a generation before.
    """

    end: Literal["rested", "left", "died"]
    exit_code: int | None = None
    message: str = ""
    same_process: bool = False


class Nursery:
    """Where a worker's generations run. `pause` and `interrupt` may come from any thread."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        cold: bool = False,
        reuse: bool = True,
        log: IO[bytes] | None = None,
    ) -> None:
        """Start the nursery; it imports while the caller goes on.

        Args:
            config: may have "host" (where peers reach this worker; 127.0.0.1), "timeout_seconds"
                (a peer's silence; 5), "preload" (modules to import before a fork).
            cold: start a fresh interpreter for each child instead of forking.
            reuse: let a child serve the next generation too.
            log: where the processes' own output goes; nowhere by default.
        """
        host = str(config.get("host", "127.0.0.1"))
        self._timeout_seconds = float(config.get("timeout_seconds", 5.0))
        self._reuse = reuse
        self._listener = socket.create_server((host, 0), backlog=64)
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        self._state = SharedState()
        self._generation = 0
        self._interrupted_at: float | None = None
        self._lock = threading.Lock()
        self._pid: int | None = None
        commands, self._commands = packets.pair()
        self._reports, reports = packets.pair()
        given = {
            "commands": commands.fileno(), "reports": reports.fileno(),
            "listener": self._listener.fileno(), "state": list(self._state.descriptors),
            "cold": cold, "host": host, "timeout_seconds": self._timeout_seconds,
            "preload": list(config.get("preload", ())),
        }  # fmt: skip
        sockets = (commands, reports, self._listener)
        output = log if log is not None else subprocess.DEVNULL
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.generations.nursery", json.dumps(given)],
            pass_fds=[*(s.fileno() for s in sockets), *self._state.descriptors],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A library that starts threads while it is imported would make forking unsafe.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        commands.close()
        reports.close()

    def prepare(self, body: str, arguments: Mapping[str, Any]) -> None:
        """Have a child build, trace and warm up before there is a generation for it.

        `wait_ready` waits for it; `run` uses it where body and arguments are the same.
        """
        self._send("prepare", body=body, arguments=dict(arguments))

    def wait_ready(self, timeout_seconds: float) -> None:
        """Wait until the child of `prepare` asks for its first generation.

        Raises:
            RunError: it failed, or took longer.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            report = self._report(deadline)
            if report is None:
                raise RunError(
                    f"train: expected a warm worker within {timeout_seconds:g} s, got none; see "
                    "its log"
                )
            if isinstance(report, bytes):
                continue
            if report["kind"] == "ready":
                return
            if report["kind"] == "failed":
                raise RunError(report["message"])

    def run(
        self,
        membership: Membership,
        body: str,
        arguments: Mapping[str, Any],
        told: Callable[[bytes], None],
    ) -> Outcome:
        """Serve one generation to its end.

        Args:
            membership: of the generation; its addresses are nurseries' addresses.
            body: "module:function", a child.Body; imported and called in the child.
            arguments: for it; what JSON can hold.
            told: called with what the body tells, from this thread.
        """
        with self._lock:
            self._generation = membership.generation
            known = self._state.ordered(membership.generation, interrupt=True)
            self._interrupted_at = time.monotonic() if known else None
            self._pid = None  # until the nursery says who serves; a former child's end is no news
        self._send(
            "form", membership=packets.packed(membership), body=body,
            arguments=dict(arguments), reuse=self._reuse,
        )  # fmt: skip
        message, again = "", False
        while True:
            report = self._report(self._patience())
            if report is None:
                if not self._kill():
                    return Outcome("died", message="the nursery has ended; see the worker's log")
            elif isinstance(report, bytes):
                told(report)
            elif report["kind"] == "serving":
                self._pid, again = report["pid"], report["again"]
            elif report.get("pid") != self._pid:
                continue  # of a spare, or of one that served before
            elif report["kind"] == "failed":
                message = report["message"]
            elif report["kind"] == "rested":
                return Outcome("rested", same_process=again)
            elif report["kind"] == "died":
                self._pid = None
                end: Literal["left", "died"] = "died" if report["code"] else "left"
                return Outcome(end, report["code"], message, again)

    def pause(self, generation: int) -> None:
        """Ask a generation, running or to come, to rest at its next step."""
        self._state.order(generation)

    def interrupt(self, generation: int) -> None:
        """End what a generation does, or will do; a child that does not hear it is killed."""
        with self._lock:
            self._state.order(generation, interrupt=True)
            if generation >= self._generation:
                self._interrupted_at = time.monotonic()

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The newest state that a child has committed."""
        return self._state.load()

    def close(self) -> None:
        """End everything that this nursery keeps. Can be repeated."""
        if self._commands.fileno() < 0:
            return
        with contextlib.suppress(OSError):
            self._send("quit")
        self._commands.close()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children end with it
            self._process.wait()
        self._reports.close()
        self._listener.close()
        self._state.close()

    def _send(self, kind: str, **values: Any) -> None:
        packets.send(self._commands, kind, **values)

    def _patience(self) -> Callable[[], float | None]:
        """When to stop waiting for a child: never, until it was interrupted."""

        def deadline() -> float | None:
            with self._lock:
                at = self._interrupted_at
            return None if at is None else at + self._timeout_seconds

        return deadline

    def _report(self, deadline: float | Callable[[], float | None]) -> Any:
        """The next report; None when the deadline passed or nobody can report any more."""
        while True:
            until = deadline() if callable(deadline) else deadline
            left = 0.1 if until is None else min(0.1, max(0.001, until - time.monotonic()))
            self._reports.settimeout(left)
            try:
                return packets.receive(self._reports)
            except TimeoutError:
                if until is not None and time.monotonic() >= until:
                    return None
                if self._process.poll() is not None:
                    return None

    def _kill(self) -> bool:
        """Kill the child that serves; whether somebody is left to report its end."""
        with self._lock:
            self._interrupted_at = None
        if self._process.poll() is not None or self._pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        return True
