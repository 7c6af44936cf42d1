"""The pause that a training feels when its gang changes: last step before, first step after.

    python -m bench.resize [--quick] [--check] [--rounds 50] [--engines mesh,…] [--models cnn,lstm]

Real worker processes with the real coordinator train on the digits. In every round a gang of three
shrinks to two, grows to three again with a worker that is warm and ready, loses one to SIGKILL at
a random moment of a step, and gets it replaced by another warm one. Each process appends the end of
each of its steps to one file. A pause is the time from the last step of a generation (of its last
rank) to the end of the next one's first step on all its ranks, less the median step of that one.
Work lost: steps that anybody had done and that were done again, which must be none when a gang is
resized and at most one when a rank dies.

Engines: mesh, and four ways with TensorFlow's collectives: in place (one process through all
generations), forked (a process for each, from one that has only imported TensorFlow; the next one
is built and warmed while the one before trains), unready (the same, nothing done beforehand), cold
(a fresh interpreter for each, nothing done beforehand).

Targets, medians: mesh 0.15 s for a resize and 0.5 s for a kill, forked 1.5 s for both.
50 rounds of the first two, fewer of the others, whose rounds take up to a minute. --quick takes 4
rounds of the mesh.
"""

import argparse
import itertools
import json
import os
import queue
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import resize_trace
from tally.data.format import open_dataset, write
from tally.data.packaged import digits
from tally.gang.coordinator.events import Formed, Left, Ready
from tally.gang.coordinator.server import Coordinator
from tally.gang.messages import WorkerConfig
from tally.spec import Spec

ROUNDS = {"mesh": 50, "in place": 50, "forked": 10, "unready": 5, "cold": 5}
MODELS = ("cnn", "lstm")
SHRINK, GROW, KILL, REPLACE = "3 → 2", "2 → 3", "SIGKILL", "replaced"
TARGET_SECONDS = {
    "mesh": {SHRINK: 0.15, GROW: 0.15, KILL: 0.5},
    "forked": {SHRINK: 1.5, GROW: 1.5, KILL: 1.5},
}
QUICK_ROUNDS, ROUNDS_OF_A_GANG = 4, 10
STEPS = 12  # of every worker before a gang is disturbed again
DEADLINE_SECONDS = 120.0
TOKEN = b"bench-resize"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--engines", default="")
    parser.add_argument("--models", default=",".join(MODELS))
    arguments = parser.parse_args()
    engines = arguments.engines.split(",") if arguments.engines else list(ROUNDS)
    figures: dict[str, Any] = {"bench": "resize", "met": True}
    print(f"{'':24}{'median':>9}{'worst':>9}{'target':>9}{'step':>9}{'steps lost':>12}")
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "digits"
        write(dataset, digits.load(Spec()), {"name": "digits"})
        for engine in engines[:1] if arguments.quick else engines:
            rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS[engine])
            for model in arguments.models.split(","):
                seen = measure(Path(folder), engine, model, rounds)
                figures[f"{engine} {model}"] = seen
                figures["met"] &= report(engine, model, seen)
    print(json.dumps(figures))
    return 1 if arguments.check and not figures["met"] else 0


def measure(folder: Path, engine: str, model: str, rounds: int) -> dict[str, list[Any]]:
    """[pause seconds, median step seconds, steps lost] of every change, by what changed."""
    found: dict[str, list[Any]] = defaultdict(list)
    chance = random.Random(0)
    while rounds > 0:
        here = min(rounds, ROUNDS_OF_A_GANG)
        gang = Gang(Path(tempfile.mkdtemp(dir=folder)), folder / "digits", engine, model, 3 + here)
        try:
            for _ in range(here):
                for what, change in one_round(gang, chance):
                    found[what].append(gang.changed(change))
                    if what == SHRINK:
                        gang.rejoin("2")
        finally:
            gang.close()
        rounds -= here
    return dict(found)


def one_round(gang: "Gang", chance: random.Random) -> list[tuple[str, Callable[[], int]]]:
    """What happens to a gang of three, until it is a gang of three again."""
    victim = str(chance.randrange(3))

    def kill() -> int:
        time.sleep(chance.uniform(0, 0.02))
        gang.kill(victim)
        return 2

    return [
        (SHRINK, lambda: gang.resize(2)),
        (GROW, lambda: gang.resize(3)),
        (KILL, kill),
        (REPLACE, lambda: gang.join(victim, gang.spare())),
    ]


class Gang:
    """Warm processes, three of them in a gang that trains."""

    def __init__(self, folder: Path, dataset: Path, engine: str, model: str, count: int) -> None:
        config = WorkerConfig(
            dataset=str(dataset), dataset_fingerprint=open_dataset(dataset).fingerprint,
            model=model, epochs=10**6, batch_size=32, learning_rate=0.001, seed=1,
            checkpoint_folder=str(folder / "checkpoints"), checkpoint_seconds=1e9,
            model_folder=str(folder / "model"), max_workers=3, cores=1, parent_pid=os.getpid(),
        )  # fmt: skip
        self._next_child, self._children = engine == "forked", count
        self._trace = folder / "trace"
        self._trace.touch()
        (folder / "token").write_bytes(TOKEN)
        given = {
            "config": config.as_json(), "engine": engine, "trace": str(self._trace),
            "token": str(folder / "token"), "log": str(folder / "log"),
        }  # fmt: skip
        self._log = open(folder / "log", "ab")  # noqa: SIM115 - it lives as long as the gang
        command = [sys.executable, "-m", "bench.resize_worker", json.dumps(given)]
        self._processes = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
            )
            for _ in range(count)
        ]
        self._spares = list(self._processes)
        self._members: dict[str, tuple[subprocess.Popen[str], str]] = {}
        self._happened: queue.Queue[Any] = queue.Queue()
        self._coordinator = Coordinator(TOKEN, config.as_json(), self._happened.put, workers=3)
        self._lives = 0
        for process in self._processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "warm":
                raise RuntimeError(f"a worker did not get warm: {(folder / 'log').read_text()}")
        for index in range(3):
            self.join(str(index), self.spare())
        self._generation = 0
        self._formed(3)

    def spare(self) -> "subprocess.Popen[str]":
        return self._spares.pop()

    def join(self, worker: str, process: "subprocess.Popen[str]") -> int:
        """A warm process becomes this worker; the gang's size after it."""
        self._lives += 1
        uid = f"bench:{process.pid}:{self._lives}"
        self._members[worker] = process, uid
        told = {"worker": worker, "address": self._coordinator.address, "uid": uid}
        assert process.stdin is not None
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        return 3

    def rejoin(self, worker: str) -> None:
        """It was left out: it comes again, to be ready when it is wanted."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        self._next(Left, deadline)
        self.join(worker, self._members[worker][0])
        self._next(Ready, deadline)

    def resize(self, workers: int) -> int:
        self._coordinator.resize(workers)
        return workers

    def kill(self, worker: str) -> None:
        process, uid = self._members[worker]
        process.kill()

        def bury() -> None:
            process.wait()
            self._coordinator.gone(worker, uid)

        threading.Thread(target=bury, daemon=True).start()

    def changed(self, change: Callable[[], int]) -> tuple[float, float, int]:
        """Make a change; the pause and the median step after it, in seconds, and steps lost."""
        before = self._generation
        size = change()
        workers = self._formed(size)
        records = self._records()
        old, new = records[before], records[self._generation]
        last = max(end for steps in old.values() for _, end in steps)
        first = max(new[worker][0][1] for worker in workers)
        gaps = [b[1] - a[1] for steps in new.values() for a, b in itertools.pairwise(steps)]
        done = max(step for steps in old.values() for step, _ in steps)
        lost = done + 1 - min(steps[0][0] for steps in new.values())
        step = statistics.median(gaps)
        return (first - last - step) / 1e9, step / 1e9, lost

    def _formed(self, size: int) -> tuple[int, ...]:
        """Wait for a generation of this size to have trained; its workers."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            formed = self._next(Formed, deadline)
            if len(formed.workers) == size:
                break
        self._generation, workers = formed.generation, tuple(map(int, formed.workers))
        self._wait(
            lambda: all(len(self._records()[self._generation][w]) >= STEPS for w in workers),
            deadline,
        )
        if self._next_child:  # each makes itself ready while the generation trains
            self._children += size
            self._wait(lambda: len(self._records()[0][0]) >= self._children, deadline)
        return workers

    def _next(self, kind: type, deadline: float) -> Any:
        while True:
            left = deadline - time.monotonic()
            try:
                event = self._happened.get(timeout=max(0.0, left))
            except queue.Empty:
                raise RuntimeError(
                    f"no {kind.__name__} in time: {Path(self._log.name).read_text()[-4000:]}"
                ) from None
            if isinstance(event, kind):
                return event

    def _wait(self, done: Callable[[], bool], deadline: float) -> None:
        while not done():
            if time.monotonic() > deadline:
                raise RuntimeError(f"no steps: {Path(self._log.name).read_text()[-4000:]}")
            time.sleep(0.02)

    def _records(self) -> resize_trace.Records:
        return resize_trace.read(self._trace)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._coordinator.close()
        self._log.close()


def report(engine: str, model: str, seen: dict[str, list[Any]]) -> bool:
    """A line for each change; whether all targets are met."""
    met = True
    for what, rounds in seen.items():
        pauses, steps, lost = zip(*rounds, strict=True)
        median, allowed = statistics.median(pauses), 1 if what == KILL else 0
        target = TARGET_SECONDS.get(engine, {}).get(what)
        good = (target is None or median <= target) and max(lost) <= allowed
        met &= good
        print(
            f"{engine:10}{model:5}{what:9}{median:8.3f}s{max(pauses):8.3f}s"
            + (f"{target:8.2f}s" if target else f"{'':9}")
            + f"{1000 * statistics.median(steps):7.1f}ms{max(lost):12}"
            + ("" if good else "  missed")
        )
        sys.stdout.flush()
    return met


if __name__ == "__main__":
    sys.exit(main())
