"""TensorFlow's collectives against sums made by hand, and what becomes of lost peers."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tally.gang.collective import Membership, PeerLost
from tally.learning.tensorflow.multiworker.rendezvous import Rendezvous

pytestmark = pytest.mark.exact

WORKER = """
import json, os, sys
import numpy as np
from tally.learning.tensorflow import environment
from tally.gang.collective import Membership
from tally.learning.tensorflow.multiworker.engine import MultiWorker

environment.load_keras()
engine = MultiWorker(timeout_seconds=20.0)
import tensorflow as tf

weights = tf.Variable(tf.ones(8))
double = tf.function(lambda: weights.assign(weights * 2), jit_compile=True)
double()
print(json.dumps(engine.address), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if not order:
        break
    generation, rank, members = order
    world = len(members)
    engine.join(Membership(generation, rank, tuple(members), bytes([generation]) * 32))
    said = {}
    for dtype in ("float32", "float64", "int32", "int64"):
        total = engine.all_reduce(np.arange(1000).astype(dtype) * (rank + 1))
        assert total.dtype == dtype
        said[dtype] = total[[1, -1]].tolist()
    rows = np.random.default_rng(7).standard_normal((world * (world + 1) // 2 - 1, 37))
    rows = rows.astype(np.float32)
    first = rank * (rank + 1) // 2 - (rank > 0)  # 0 rows of rank 0, then 2, 3, …
    expected = np.zeros(37, np.float32)
    for row in rows:
        expected += row
    folded = engine.fold(rows[first : first + (rank + 1 if rank else 0)])
    said["folded"] = folded.tobytes() == expected.tobytes()
    texts = [b"from %d" % root * 1001 for root in range(world)]
    got = [engine.broadcast(texts[root] if rank == root else None, root) for root in range(world)]
    said["broadcast"] = [bytes(text) for text in got] == texts
    said["nothing"] = len(engine.broadcast(b"" if rank == 0 else None, 0))
    double()
    said["weight"] = float(weights[0])
    print(json.dumps(said), flush=True)
try:
    MultiWorker()
except RuntimeError as error:
    print(json.dumps(str(error)), flush=True)
os._exit(0)
"""


class Process:
    """A worker whose generations the test orders, one after another."""

    def __init__(self, log: Path) -> None:
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", WORKER],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        self.log = log

    def order(self, *order: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def said(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        return json.loads(line)


@contextlib.contextmanager
def processes(folder: Path, count: int) -> Iterator[list[Process]]:
    made = [Process(folder / f"log{index}") for index in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.process.kill()
            one.process.communicate()


@pytest.mark.slow
def test_one_process_takes_any_rank_in_one_generation_after_another(tmp_path: Path) -> None:
    generations = [[0, 1], [1, 0], [0, 1, 2], [2, 1], [0], [0, 2], [2, 0, 1], *[[0, 1, 2]] * 8]
    served = [0, 0, 0]
    with processes(tmp_path, 3) as workers:
        addresses = [worker.said() for worker in workers]
        for generation, members in enumerate(generations, 1):
            for rank, index in enumerate(members):
                workers[index].order(generation, rank, [addresses[i] for i in members])
            total = len(members) * (len(members) + 1) // 2
            for index in members:
                served[index] += 1
                said = workers[index].said()
                for dtype in ("float32", "float64", "int32", "int64"):
                    assert said[dtype] == [total, 999 * total], (generation, dtype)
                assert said["folded"], generation
                assert said["broadcast"], generation
                assert said["nothing"] == 0, generation
                assert said["weight"] == 2.0 ** (served[index] + 1), (
                    "its variables and its compiled function outlive each cluster"
                )
        for worker in workers:
            worker.order()
            assert worker.said().startswith("multiworker: expected a process in which TensorFlow")
            assert worker.process.wait(30) == 0


def test_a_stranger_and_a_member_of_another_generation_are_not_let_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        members = (address, "127.0.0.1:1")
        root = Membership(4, 0, members, b"k" * 32)
        found: list[list[tuple[int, str]]] = []

        def meet() -> None:
            with Rendezvous(listener, root, 20.0, lambda: False) as meeting:
                found.append(meeting.tasks((7, "root:1")))
                meeting.go()

        thread = threading.Thread(target=meet)
        thread.start()
        for sent in (b"", b"garbage\n", b"x" * 70_000, b"{}\n", b"[1]\n"):
            place = ("127.0.0.1", listener.getsockname()[1])
            with socket.create_connection(place) as caller, contextlib.suppress(OSError):
                caller.sendall(sent)
                caller.shutdown(socket.SHUT_WR)
                assert caller.recv(1) == b"", sent[:10]
        silent = socket.create_connection(("127.0.0.1", listener.getsockname()[1]))
        for wrong in (
            Membership(4, 1, members, b"j" * 32),
            Membership(3, 1, members, b"k" * 32),
        ):
            with (
                Rendezvous(listener, wrong, 5.0, lambda: False) as meeting,
                pytest.raises(PeerLost),
            ):
                meeting.tasks((8, "stranger:1"))
        right = Membership(4, 1, members, b"k" * 32)
        with Rendezvous(listener, right, 5.0, lambda: False) as meeting:
            assert meeting.tasks((9, "peer:1")) == [(7, "root:1"), (9, "peer:1")]
            meeting.go()
        thread.join(20)
        silent.close()
        assert found == [[(7, "root:1"), (9, "peer:1")]]
