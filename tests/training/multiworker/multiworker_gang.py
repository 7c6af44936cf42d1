"""Several nurseries, each driven by a thread of the test's, as agents would be."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tally.training.collective import Membership
from tally.training.multiworker.generations import Nursery, Outcome


@dataclass
class Worker:
    """A nursery, what its bodies told, and the outcome of the generation that runs."""

    nursery: Nursery
    log: Path
    told: list[dict] = field(default_factory=list)
    event: threading.Condition = field(default_factory=threading.Condition)
    outcome: Future[Outcome] | None = None

    def hear(self, data: bytes) -> None:
        with self.event:
            self.told.append(json.loads(data) if data[:1] == b"{" else {"text": data.decode()})
            self.event.notify_all()

    def until(self, key: str, least: float = 0, seconds: float = 60) -> dict:
        """The first thing told with `key` at `least` so much, from the last `forget` on."""

        def found() -> dict | None:
            fits = (t for t in self.told if key in t and (not least or t[key] >= least))
            return next(fits, None)

        with self.event:
            assert self.event.wait_for(lambda: found() is not None, seconds), (
                f"no {key} >= {least}: {self.told[-3:]} {self.log.read_text()[-2000:]}"
            )
            return found()


class Gang:
    """Workers by index."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.folder, self.pool = folder, pool
        self.workers: list[Worker] = []
        self.generation = 0

    def add(self, count: int, **options: object) -> None:
        config = {"timeout_seconds": 8.0, **options.pop("config", {})}
        for _ in range(count):
            log = self.folder / f"worker-{len(self.workers)}.log"
            with open(log, "ab") as output:
                nursery = Nursery(config, log=output, **options)
            self.workers.append(Worker(nursery, log))

    def start(self, members: list[int], body: str, **arguments: object) -> None:
        """Begin the next generation, of these workers in this order of ranks."""
        self.generation += 1
        addresses = tuple(self.workers[i].nursery.address for i in members)
        key = os.urandom(32)
        for rank, index in enumerate(members):
            worker = self.workers[index]
            worker.told.clear()
            membership = Membership(self.generation, rank, addresses, key)
            worker.outcome = self.pool.submit(
                worker.nursery.run, membership, f"multiworker_bodies:{body}", arguments, worker.hear
            )

    def ended(self, members: list[int], seconds: float = 60) -> list[Outcome]:
        found = [self.workers[i].outcome for i in members]
        deadline = time.monotonic() + seconds
        try:
            return [f.result(max(0.1, deadline - time.monotonic())) for f in found]
        except TimeoutError:
            logs = "\n".join(self.workers[i].log.read_text()[-1500:] for i in members)
            raise AssertionError(f"a generation did not end: {logs}") from None


@contextlib.contextmanager
def gang(folder: Path) -> Iterator[Gang]:
    """No process of it is left when the block is left."""
    with ThreadPoolExecutor(16) as pool:
        made = Gang(folder, pool)
        try:
            yield made
        finally:
            for worker in made.workers:
                worker.nursery.close()
