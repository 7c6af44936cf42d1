"""The nursery: a process without threads that has imported everything and forks children.

It runs no operation and starts no thread, because a fork copies only the thread that forks: a lock
that another held would stay locked in the child for ever. `python -m …nursery DESCRIPTORS` is
started by agent.Nursery; cold, it imports nothing and starts fresh interpreters instead.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.generations import child, packets
from bench.generations.shared import SharedState
from tally.learning.tensorflow import environment

# Everything a child would import, threads excepted: the strategy's own modules come with them.
PRELOADED = (
    "tensorflow.python.distribute.collective_all_reduce_strategy",
    "tally.models.registry",
    "tally.learning.tensorflow.backend",
    "tally.learning.checkpoint",
)


@dataclass
class Child:
    """A child and the line to it."""

    pid: int
    descriptor: int  # a pidfd
    orders: socket.socket
    born: dict[str, Any]
    served: bool = False


class Nursery:
    """Forks, feeds and buries children, as the agent orders."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Take what was inherited.

        Args:
            config: descriptors ("commands", "reports", "listener", "state"), "cold", "host",
                "timeout_seconds", "preload".
        """
        self._config = config
        self._commands = socket.socket(fileno=config["commands"])
        self._reports = socket.socket(fileno=config["reports"])
        self._listener = socket.socket(fileno=config["listener"])
        self._state = SharedState(tuple(config["state"]))
        self._children: list[Child] = []

    def serve(self) -> None:
        """Until the agent says so or is gone."""
        if not self._config["cold"]:
            environment.load_keras()
            for name in (*PRELOADED, *self._config["preload"]):
                importlib.import_module(name)
        packets.send(self._reports, "open", threads=threads())
        while True:
            poller = select.poll()
            poller.register(self._commands, select.POLLIN)
            for one in self._children:
                poller.register(one.descriptor, select.POLLIN)
            ready = {descriptor for descriptor, _ in poller.poll()}
            for one in [c for c in self._children if c.descriptor in ready]:
                self._bury(one)
            if self._commands.fileno() in ready:
                order = packets.receive(self._commands)
                if not isinstance(order, dict) or order["kind"] == "quit":
                    break
                self._obey(order)
        for one in list(self._children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
            self._bury(one)

    def _obey(self, order: dict[str, Any]) -> None:
        born = {key: order[key] for key in ("body", "arguments")}
        waiting = [c for c in self._children if c.born == born]
        unserved = [c for c in waiting if not c.served]
        if order["kind"] == "prepare":
            _ = unserved or self._child(born)
        elif order["kind"] == "form":
            fit = [*unserved, *(waiting if order["reuse"] else [])]
            self._serve(fit[0] if fit else self._child(born), order["membership"])

    def _serve(self, one: Child, membership: dict[str, Any]) -> None:
        for other in [c for c in self._children if c is not one]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(other.pid, signal.SIGKILL)
            self._bury(other)
        packets.send(self._reports, "serving", pid=one.pid, again=one.served)
        one.served = True
        with contextlib.suppress(OSError):  # it is dying: its end is told
            packets.send(one.orders, "form", membership=membership)

    def _child(self, born: dict[str, Any]) -> Child:
        ours, theirs = packets.pair()
        start = self._spawn if self._config["cold"] else self._fork
        pid = start({**born, **self._born_of()}, ours, theirs)
        theirs.close()
        made = Child(pid, os.pidfd_open(pid), ours, born)
        self._children.append(made)
        return made

    def _born_of(self) -> dict[str, Any]:
        config = self._config
        return {
            "host": config["host"],
            "timeout_seconds": config["timeout_seconds"],
            "parent": os.getpid(),
        }

    def _fork(self, born: dict[str, Any], ours: socket.socket, theirs: socket.socket) -> int:
        found = threads()
        if found != 1:
            raise RuntimeError(f"expected one thread before a fork, got {found}; do not preload")
        pid = os.fork()
        if pid:
            return pid
        ours.close()
        self._commands.close()
        for one in self._children:
            one.orders.close()
            os.close(one.descriptor)
        lines = child.Lines(self._listener, self._reports, theirs, self._state)
        child.leave(child.live(lines, born))
        raise AssertionError

    def _spawn(self, born: dict[str, Any], ours: socket.socket, theirs: socket.socket) -> int:
        descriptors = {
            "listener": self._listener.fileno(), "reports": self._reports.fileno(),
            "orders": theirs.fileno(), "state": list(self._state.descriptors),
        }  # fmt: skip
        command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, "child"]
        process = subprocess.Popen(
            [*command, json.dumps({**born, **descriptors})],
            pass_fds=[*_flat(descriptors.values())],
        )
        process.returncode = 0  # buried here, by its pid
        return process.pid

    def _bury(self, one: Child) -> None:
        _, status = os.waitpid(one.pid, 0)
        os.close(one.descriptor)
        one.orders.close()
        self._children.remove(one)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError):
            packets.send(self._reports, "died", pid=one.pid, code=code)


def threads() -> int:
    """How many threads this process has."""
    return len(list(Path("/proc/self/task").iterdir()))


def _flat(values: Any) -> list[int]:
    return [n for value in values for n in (value if isinstance(value, list) else [value])]


def _child_main(given: dict[str, Any]) -> int:
    lines = child.Lines(
        socket.socket(fileno=given["listener"]),
        socket.socket(fileno=given["reports"]),
        socket.socket(fileno=given["orders"]),
        SharedState(tuple(given["state"])),
    )
    return child.live(lines, given)


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child.leave(_child_main(json.loads(sys.argv[2])))
    Nursery(json.loads(sys.argv[1])).serve()
    child.leave(0)
