"""A child of the nursery: a worker's process, for one generation or, where it may, for many."""

import contextlib
import ctypes
import importlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bench.generations import packets
from bench.generations.shared import SharedState
from tally.data.format import Array
from tally.gang.collective import Membership
from tally.learning.tensorflow import environment
from tally.learning.tensorflow.multiworker.engine import MultiWorker

INTERRUPT_POLL_SECONDS = 0.02


class Body(Protocol):
    """What a child does: it builds, traces and warms, then goes through `shared.generations()`."""

    def __call__(
        self,
        engine: MultiWorker,
        arguments: Mapping[str, Any],
        shared: "Shared",
        told: Callable[[bytes], None],
    ) -> None:
        """Called once in a child; the child ends when it returns."""


@dataclass(frozen=True)
class Lines:
    """What a child inherits.

    Attributes:
        listener: the worker's address, where its peers' rendezvous comes.
        reports: to the agent.
        orders: from the nursery, to this child alone.
        state: the worker's memory.
    """

    listener: socket.socket
    reports: socket.socket
    orders: socket.socket
    state: SharedState


class Shared:
    """A body's view of its agent: generations to serve, orders, and the state that is kept."""

    def __init__(self, lines: Lines, engine: MultiWorker) -> None:
        """Called by `live` only."""
        self._lines = lines
        self._engine = engine
        self._generation = 0

    def generations(self) -> Iterator[Membership]:
        """Each generation that this process is to serve, for `engine.join`.

        Asking for the next one says that the former has ended and its state is committed.
        """
        packets.send(self._lines.reports, "ready", pid=os.getpid())
        while True:
            order = packets.receive(self._lines.orders)
            if not isinstance(order, dict) or order["kind"] != "form":
                return
            membership = packets.unpacked(order["membership"])
            self._generation = membership.generation
            served = threading.Event()
            watch = threading.Thread(
                target=self._watch, args=(self._generation, served), daemon=True
            )
            watch.start()
            yield membership
            served.set()
            watch.join()
            packets.send(self._lines.reports, "rested", pid=os.getpid())

    def paused(self) -> bool:
        """Whether a pause of this generation was ordered: cheap enough for every step."""
        return self._lines.state.ordered(self._generation)

    def commit(self, state: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        """Keep a state for whoever serves the next generation; see SharedState.commit."""
        self._lines.state.commit(state, tensors)

    def load(self) -> tuple[dict[str, Any], dict[str, Array]] | None:
        """The newest state that any child of this worker has committed."""
        return self._lines.state.load()

    def _watch(self, generation: int, served: threading.Event) -> None:
        while not served.wait(INTERRUPT_POLL_SECONDS):
            if self._lines.state.ordered(generation, interrupt=True):
                self._engine.interrupt()
                return


def live(lines: Lines, born: Mapping[str, Any]) -> int:
    """Serve; the process's exit code.

    Args:
        lines: what was inherited.
        born: "body", "arguments", "host", "timeout_seconds", "parent".
    """
    end_with_parent(born["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's goes to the agent, which decides
    environment.load_keras()
    try:
        engine = MultiWorker(born["host"], born["timeout_seconds"], lines.listener)
        shared = Shared(lines, engine)
        told = lambda data: packets.tell(lines.reports, data)  # noqa: E731
        named(born["body"])(engine, born["arguments"], shared, told)
    except Exception as error:
        traceback.print_exc()
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        with contextlib.suppress(OSError):
            packets.send(lines.reports, "failed", pid=os.getpid(), message=words)
        return 1
    return 0


def named(body: str) -> Body:
    """The function that "module:function" names."""
    module, _, function = body.partition(":")
    found: Body = getattr(importlib.import_module(module), function)
    return found


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process as soon as its parent is gone (Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it went before the kernel was asked
        os._exit(1)


def leave(code: int) -> None:
    """End this process at once: all is written, and TensorFlow takes a second to let go."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
