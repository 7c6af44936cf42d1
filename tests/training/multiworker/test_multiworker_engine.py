"""TensorFlow's collectives against sums made by hand, and what becomes of lost peers."""

import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from multiworker_gang import gang

from tally.training.collective import Membership, PeerLost
from tally.training.multiworker.rendezvous import Rendezvous

pytestmark = pytest.mark.slow  # nothing trains with this engine yet


@pytest.fixture(autouse=True)
def bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    here, root = Path(__file__).parent, Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", f"{here}:{here.parent}:{root}")


def check(said: dict, world: int) -> None:
    total = world * (world + 1) // 2
    for dtype in ("float32", "float64", "int32", "int64"):
        assert said[dtype] == [total, 999 * total], dtype
    assert said["folded"]
    assert all(said[f"broadcast {root}"] for root in range(world))
    assert said["nothing"] == 0


def test_sums_folds_and_broadcasts_are_exact_at_every_size(tmp_path: Path) -> None:
    with gang(tmp_path) as made:
        made.add(3)
        for members in ([0, 1], [0, 1, 2], [0], [0, 2], [2, 1]):
            made.start(members, "arithmetic")
            outcomes = made.ended(members)
            assert [o.end for o in outcomes] == ["rested"] * len(members), outcomes
            for index in members:
                check(made.workers[index].told[-1], len(members))


IN_PLACE = """
import os, sys
import numpy as np
from tally.training import environment
from tally.training.collective import CollectiveError, Membership
from tally.training.multiworker.engine import MultiWorker

environment.load_keras()
engine = MultiWorker(timeout_seconds=20.0)
print(engine.address, flush=True)
import tensorflow as tf

weights = tf.Variable(tf.ones(8))
double = tf.function(lambda: weights.assign(weights * 2), jit_compile=True)
double()
me = int(sys.argv[1])
addresses = sys.stdin.readline().split()
for generation, ranks in enumerate(eval(sys.stdin.readline()), 1):
    if me not in ranks:
        continue
    key = bytes([generation]) * 32
    members = tuple(addresses[i] for i in ranks)
    engine.join(Membership(generation, ranks.index(me), members, key))
    total = engine.all_reduce(tf.fill([5], me + 1.0))
    assert total.numpy().tolist() == [sum(i + 1.0 for i in ranks)] * 5, (generation, total)
    double()
    print(generation, float(weights[0]), flush=True)
try:
    MultiWorker()
except RuntimeError as error:
    print(error, flush=True)
os._exit(0)
"""


def test_one_process_takes_any_rank_in_one_generation_after_another(tmp_path: Path) -> None:
    generations = [[0, 1], [1, 0], [0, 1, 2], [2, 1], [0, 2], [2, 0, 1], [1, 2], *[[0, 1, 2]] * 20]
    processes = []
    for index in range(3):
        with open(tmp_path / f"log{index}", "wb") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", IN_PLACE, str(index)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                )
            )  # fmt: skip
    try:
        addresses = [process.stdout.readline().strip() for process in processes]
        for process in processes:
            process.stdin.write(f"{' '.join(addresses)}\n{generations}\n")
            process.stdin.close()
        for index, process in enumerate(processes):
            said = process.stdout.read().splitlines()
            log = (tmp_path / f"log{index}").read_text()
            assert process.wait(30) == 0, log
            served = [g for g, ranks in enumerate(generations, 1) if index in ranks]
            assert said[:-1] == [f"{g} {2.0 ** (n + 2)}" for n, g in enumerate(served)], (
                "its variables and its compiled function outlive each cluster"
            )
            assert said[-1].startswith("multiworker: expected a process in which TensorFlow has")
    finally:
        for process in processes:
            process.kill()
            process.wait()


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
