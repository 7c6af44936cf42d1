"""Warm worker processes, a gang of them with faults between its parts, and who conducts it."""

import contextlib
import json
import queue
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.gang.mesh_proxy import Fault, Recorded, Wire
from helpers.learning.made_training import TOKEN
from tally.gang.coordinator.events import Dropped, Formed, Left, Observed, Told
from tally.gang.coordinator.server import Coordinator, Limits
from tally.gang.messages import Finished, WorkerConfig, decode

LIMITS = Limits(
    heartbeat_seconds=0.05, silent_seconds=1.0, rest_urgent_seconds=1.5, rest_seconds=4.0,
    first_wait_seconds=1.0, settle_seconds=0.02,
)  # fmt: skip


class Warm:
    """One process."""

    def __init__(self, config: WorkerConfig, log: Path) -> None:
        command = [sys.executable, str(Path(__file__).with_name("warm_worker.py"))]
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                [*command, json.dumps(config.as_json())], text=True, stderr=errors,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        self.said: queue.Queue[dict[str, Any]] = queue.Queue()
        self.told: Callable[[dict[str, Any]], None] = self.said.put
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told(json.loads(line))
        self.process.wait()
        self.told({"gone": True})

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it is dead: its end is told
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()


class Pool:
    """Processes that wait for a life."""

    def __init__(self, config: WorkerConfig, log: Path, count: int) -> None:
        self._config, self.log = config, log
        self._idle: queue.Queue[Warm] = queue.Queue()
        self._all: list[Warm] = []
        for _ in range(count):
            self.another()

    def another(self) -> None:
        warm = Warm(self._config, self.log)
        self._all.append(warm)
        self._idle.put(warm)

    def take(self) -> Warm:
        """One that is warm."""
        warm = self._idle.get(timeout=60)
        if warm.told == warm.said.put:
            said = warm.said.get(timeout=120)
            assert said == {"warm": True}, f"{said}: {self.log.read_text()[-3000:]}"
        return warm

    def give(self, warm: Warm) -> None:
        self._idle.put(warm)

    def close(self) -> None:
        for warm in self._all:
            warm.process.kill()
            warm.process.wait()


class Line:
    """A proxy before the coordinator for one life: it can be cut, or let nothing more through."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server((host, 0))
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        self._pairs: list[socket.socket] = []
        self._mute = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target, 5)
                self._pairs += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if not self._mute.is_set():
                    sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mute(self) -> None:
        self._mute.set()

    def cut(self) -> None:
        for one in list(self._pairs):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for one in self._pairs:
            one.close()


@dataclass
class Living:
    """A life of a worker and what stands before it."""

    worker: str
    uid: str
    warm: Warm
    line: Line
    wire: Wire | None = None
    out: bool = False


class WarmGang:
    """A training of warm workers; whoever is lost is replaced, as the conductor would."""

    def __init__(
        self, pool: Pool, folder: Path, workers: int, faults: list[Fault], older: Recorded
    ) -> None:
        self._pool, self._folder, self._target = pool, folder, workers
        self._faults, self._older = list(faults), older
        folder.mkdir()
        self._happened: queue.Queue[Any] = queue.Queue()
        self.coordinator = Coordinator(
            TOKEN, {}, self._happened.put, workers=workers, limits=LIMITS
        )
        self.lives: dict[str, Living] = {}
        self._count = 0
        self.story: list[str] = []
        self.wires: list[Wire] = []
        self._timers: list[threading.Timer] = []
        self.sizes: list[int] = []

    def run(
        self, strikes: list[tuple[int, Callable[["WarmGang"], bool | None]]], seconds: float
    ) -> Any:
        """Train to the end, doing what was planned at its steps; what says False is done later."""
        deadline, todo = time.monotonic() + seconds, list(strikes)
        finished = None
        self._replace()
        while finished is None or self.lives:
            event = self._next(deadline)
            if isinstance(event, tuple):
                self._said(*event)
            elif isinstance(event, Formed):
                self.sizes.append(len(event.workers))
            elif isinstance(event, Observed):  # one may still come with the line that it is over
                while todo and finished is None and event.observation.step >= todo[0][0]:
                    if todo[0][1](self) is False:
                        break
                    todo.pop(0)
            elif isinstance(event, Dropped | Left):
                self.story.append(str(event))
                if event.uid in self.lives:
                    self.lives[event.uid].out = True
            elif isinstance(event, Told) and isinstance(found := decode(event.line), Finished):
                finished = found
                self.coordinator.close()
                for living in self.lives.values():
                    living.warm.process.send_signal(signal.SIGCONT)
            if finished is None:
                self._replace()
        return finished

    def _next(self, deadline: float) -> Any:
        try:
            return self._happened.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            story = "\n".join(self.story)
            raise AssertionError(
                f"it hangs: {list(self.lives)}\n{story}\n{self._pool.log.read_text()[-3000:]}"
            ) from None

    def _said(self, living: Living, said: dict[str, Any]) -> None:
        self.story.append(f"{living.worker} {living.uid}: {said}")
        if "address" in said:
            fault = self._faults.pop(0) if self._faults else None
            living.wire = Wire(said["address"], fault, lambda: None, self._older)
            self.wires.append(living.wire)
            living.warm.write(living.wire.address)
            return
        assert said.get("end") != "defect", self._pool.log.read_text()[-3000:]
        del self.lives[living.uid]
        self.coordinator.gone(living.worker, living.uid)
        living.line.close()
        if living.wire is not None:
            living.wire.close()
        self._pool.another() if "gone" in said else self._pool.give(living.warm)

    def _replace(self) -> None:
        held = {living.worker for living in self.lives.values() if not living.out}
        for index in range(self._target):
            if str(index) not in held:
                self._begin(str(index))

    def _begin(self, worker: str) -> None:
        self._count += 1
        warm = self._pool.take()
        uid, line = f"life-{self._count}", Line(self.coordinator.address)
        living = self.lives[uid] = Living(worker, uid, warm, line)
        warm.told = lambda said: self._happened.put((living, said))
        told = {
            "coordinator": line.address, "token": TOKEN.decode(), "worker": worker, "uid": uid,
            "checkpoints": str(self._folder / "checkpoints"), "model": str(self._folder / "model"),
        }  # fmt: skip
        warm.write(json.dumps(told))

    # what can be done to it

    def victim(self, chance: random.Random) -> Living | None:
        alive = [living for living in self.lives.values() if not living.out]
        return chance.choice(alive) if alive else None

    def stop(self, living: Living, seconds: float) -> None:
        """It does nothing for so long."""
        process = living.warm.process
        process.send_signal(signal.SIGSTOP)
        timer = threading.Timer(seconds, process.send_signal, (signal.SIGCONT,))
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def resize(self, workers: int) -> None:
        self._target = workers
        self.coordinator.resize(workers)

    def close(self) -> None:
        for timer in self._timers:
            timer.join()
        for living in self.lives.values():  # of a gang that failed: fit for nothing any more
            living.warm.process.kill()
            living.line.close()
        for wire in self.wires:
            wire.close()
        self.coordinator.close()


def garbage(address: str, chance: random.Random) -> None:
    """Some bytes to a port, and a look at what it answers."""
    host, port = address.split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1) as stranger:
        stranger.sendall(chance.randbytes(chance.choice([1, 64, 5000])))
        select.select([stranger], [], [], 0.01)
