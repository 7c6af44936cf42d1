"""Ranks of a mesh: as threads of a test, or as real processes that can be killed and stopped."""

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from tally.gang.collective import CollectiveError, Membership
from tally.gang.mesh.mesh import Mesh

KEY = bytes(range(32))


def memberships(generation: int, addresses: Sequence[str], key: bytes = KEY) -> list[Membership]:
    return [Membership(generation, rank, tuple(addresses), key) for rank in range(len(addresses))]


def each(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """All calls at once, a thread each; what they returned or raised."""

    def caught(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(max(1, len(calls))) as threads:
        return list(threads.map(caught, calls))


def joined(world: int, timeout_seconds: float = 10.0, generation: int = 1) -> list[Mesh]:
    meshes = [Mesh(timeout_seconds=timeout_seconds) for _ in range(world)]
    join_all(meshes, generation)
    return meshes


def join_all(meshes: Sequence[Mesh], generation: int) -> None:
    views = memberships(generation, [mesh.address for mesh in meshes])
    outcomes = each([lambda m=m, v=v: m.join(v) for m, v in zip(meshes, views, strict=True)])
    assert outcomes == [None] * len(meshes)


@dataclass(frozen=True)
class Op:
    """A call of a case: its kind, its seed and how many numbers; root of a broadcast."""

    kind: str
    seed: int
    count: int
    root: int = 0

    def rows(self, rank: int) -> np.ndarray:
        """What `rank` adds: small integers, whose sums are exact."""
        chance = np.random.default_rng([self.seed, rank])
        rows = 1 if self.kind == "all_reduce" else int(chance.integers(0, 4))
        return chance.integers(-(1 << 40), 1 << 40, (rows, self.count))

    def data(self) -> bytes:
        return np.random.default_rng(self.seed).bytes(self.count)

    def run(self, mesh: Mesh, rank: int) -> str:
        if self.kind == "broadcast":
            got = mesh.broadcast(self.data() if rank == self.root else None, self.root)
        elif self.kind == "fold":
            got = mesh.fold(self.rows(rank)).data
        else:
            got = mesh.all_reduce(self.rows(rank)[0]).data
        return hashlib.sha256(got).hexdigest()

    def expected(self, world: int) -> str:
        if self.kind == "broadcast":
            return hashlib.sha256(self.data()).hexdigest()
        total = sum(self.rows(rank).sum(axis=0) for rank in range(world))
        return hashlib.sha256(np.ascontiguousarray(total)).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """Of a join (`digest` is "") or a call: what came, or the error, and how long it took."""

    digest: str
    error: str
    lawful: bool
    seconds: float


def serve(pipe: Connection, timeout_seconds: float) -> None:
    """A rank's process: joins and calls as told, in order, up to the first error."""
    mesh = Mesh(timeout_seconds=timeout_seconds)
    pipe.send(mesh.address)
    while True:
        try:
            membership, ops = pipe.recv()
        except EOFError:
            return
        outcomes: list[Outcome] = []
        for op in (None, *ops):
            began = time.monotonic()
            digest, error, lawful = "", "", True
            try:
                if op is None:
                    mesh.join(membership)
                else:
                    digest = op.run(mesh, membership.rank)
            except Exception as raised:
                error = f"{type(raised).__name__}: {raised}"
                lawful = isinstance(raised, CollectiveError)
            outcomes.append(Outcome(digest, error, lawful, time.monotonic() - began))
            pipe.send(outcomes[-1])
            if error:
                break
        pipe.send(None)


_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tally.gang.mesh.mesh"])


class Peer:
    """A rank in a process of its own."""

    def __init__(self, timeout_seconds: float) -> None:
        self._pipe, other = _context.Pipe()
        self.process = _context.Process(target=serve, args=(other, timeout_seconds), daemon=True)
        self.process.start()
        other.close()
        self.address: str = self._pipe.recv()
        self.gone = False

    def tell(self, membership: Membership, ops: Sequence[Op]) -> None:
        self._pipe.send((membership, list(ops)))

    def outcomes(self, seconds: float) -> list[Outcome] | None:
        """Of the join and each call, up to now if it was killed; None if it is not done in time."""
        got: list[Outcome] = []
        until = time.monotonic() + seconds
        while self._pipe.poll(max(0.0, until - time.monotonic())):
            try:
                outcome = self._pipe.recv()
            except (EOFError, ConnectionResetError):
                self.gone = True
                return got
            if outcome is None:
                return got
            got.append(outcome)
        return None

    def next_outcome(self, seconds: float) -> Outcome:
        assert self._pipe.poll(seconds), f"no outcome within {seconds} s"
        return self._pipe.recv()

    def kill(self) -> None:
        """It may have told all of its outcomes already: gone it is all the same."""
        self.gone = True
        os.kill(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def close(self) -> None:
        self._pipe.close()
        self.process.kill()
        self.process.join(5)


class Waiter:
    """A call in a thread, so that the test can do something meanwhile."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.outcome: Any = None
        self.seconds = 0.0
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._call()
        except Exception as error:
            self.outcome = error
        self.ended = time.monotonic()

    def wait(self, seconds: float) -> Any:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"the call still runs after {seconds} s"
        return self.outcome
