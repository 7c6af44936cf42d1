"""The mesh's all_reduce against TensorFlow's own ring: same processes, same tensors, in one run.

    python -m bench.allreduce [--quick] [--check]

2, 3 and 4 real worker processes on this machine form a mesh and a MultiWorkerMirroredStrategy
(CommunicationImplementation.RING; strategy.run of the replica context's all_reduce in a
tf.function). In every round each contestant sums the same eager float32 tensor some times, one
contestant after another and the other way round in the next round; a round's time is that of its
slowest rank. Both begin with an eager tensor and end with one whose first element was read: the
mesh's tensor is made from its result by dlpack. Between two workers raw TCP takes part too: the
same bytes both ways over loopback by send and recv_into, nothing checked and nothing added; beside
it stands a memory copy of them. A ratio is the geometric mean over the rounds of TensorFlow's
seconds by the mesh's, its lower bound the 2.5th percentile of 2,000 bootstrap samples of rounds.

Target: that lower bound is 1 or more at 0.1, 1, 10 and 100 MB with 2 workers. 3 and 4 workers share
the cores of a small machine: reported. --quick takes 8 rounds instead of 24 and 2 workers only.
"""

import argparse
import json
import math
import os
import random
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from tally.gang.collective import Membership
from tally.gang.mesh.mesh import Mesh
from tests.helpers.ports import HeldPort

TARGET, TARGET_WORKERS = 1.0, 2
# megabytes: sums a round
SIZES = {0.1: 40, 1.0: 20, 10.0: 5, 100.0: 1}
ROUNDS, QUICK_ROUNDS = 24, 8
MESH, RING, RAW, COPY = "mesh", "tensorflow", "raw tcp", "memory copy"
JOINS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    figures: dict[str, Any] = {"bench": "allreduce", "rounds": rounds, "workers": {}}
    for world in (2,) if arguments.quick else (2, 3, 4):
        figures["workers"][world] = measure(world, rounds)
    figures["met"] = all(
        size["ratio_lower"] >= TARGET
        for size in figures["workers"][TARGET_WORKERS]["sizes"].values()
    )
    print(json.dumps(figures))
    return 1 if arguments.check and not figures["met"] else 0


def measure(world: int, rounds: int) -> dict[str, Any]:
    """Figures of one number of workers, printed as they come."""
    context = get_context("spawn")
    held = [HeldPort() for _ in range(world + 1)]
    ports = [one.number for one in held]
    pipes, processes = [], []
    for rank in range(world):
        pipe, other = context.Pipe()
        process = context.Process(target=worker, args=(rank, ports, other, rounds), daemon=True)
        process.start()
        other.close()
        pipes.append(pipe)
        processes.append(process)
    addresses = tuple(pipe.recv() for pipe in pipes)
    for pipe in pipes:
        pipe.send(addresses)
    joins = [pipe.recv() for pipe in pipes]
    join_ms = statistics.median(max(rank[n] for rank in joins) for n in range(JOINS)) * 1000
    print(f"{world} workers: join {join_ms:.1f} ms (median of {JOINS})")
    sizes = {}
    for megabytes in SIZES:
        try:
            ranks = [pipe.recv() for pipe in pipes]
        except EOFError:
            for process in processes:
                process.join(5)
            codes = [process.exitcode for process in processes]
            raise RuntimeError(f"a rank died; exit codes by rank: {codes}") from None
        sizes[megabytes] = judged(ranks, SIZES[megabytes])
        report(megabytes, sizes[megabytes])
    for process in processes:
        process.join(30)
    return {"join_ms": join_ms, "sizes": sizes}


def worker(rank: int, ports: list[int], pipe: Connection, rounds: int) -> None:
    """One rank of everything: seconds of every round go through the pipe, size by size."""
    world = len(ports) - 1
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports[:world]]}
    task = {"type": "worker", "index": rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    mesh = Mesh()
    pipe.send(mesh.address)
    addresses = pipe.recv()
    ring = tensorflow_ring()
    joins = []
    for generation in range(1, JOINS + 1):
        began = time.perf_counter()
        mesh.join(Membership(generation, rank, addresses, bytes(32)))
        joins.append(time.perf_counter() - began)
        mesh.all_reduce(np.zeros(1, np.float32))
    pipe.send(joins)
    raw = raw_link(rank, ports[world]) if world == 2 else None
    for megabytes, times in SIZES.items():
        pipe.send(contest(rank, mesh, ring, raw, int(megabytes * 250_000), times, rounds))


def tensorflow_ring() -> Callable[[Any], Any]:
    import tensorflow as tf

    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.RING
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)

    def replica(x: Any) -> Any:
        # an argument has no device yet, which all_reduce needs
        here = tf.identity(x)
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, here)

    return tf.function(
        lambda x: strategy.run(replica, args=(x,)),
        input_signature=[tf.TensorSpec((None,), tf.float32)],
    )


def raw_link(rank: int, port: int) -> socket.socket:
    """A connection of ranks 0 and 1 as a program would have it that only moves bytes."""
    if rank == 0:
        with socket.create_server(("127.0.0.1", port)) as listener:
            connection, _ = listener.accept()
    else:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for side in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, side, 1 << 22)
    connection.setblocking(False)
    return connection


def exchange(connection: socket.socket, out: memoryview, into: memoryview) -> None:
    """The same number of bytes both ways."""
    poll = select.poll()
    sent = got = 0
    while sent < len(out) or got < len(into):
        before = sent + got
        try:
            if sent < len(out):
                sent += connection.send(out[sent : sent + (1 << 18)])
        except BlockingIOError:
            pass
        try:
            if got < len(into):
                got += connection.recv_into(into[got : got + (1 << 18)])
        except BlockingIOError:
            pass
        if sent + got == before:
            going = select.POLLOUT if sent < len(out) else 0
            poll.register(connection, going | (select.POLLIN if got < len(into) else 0))
            poll.poll()


def contest(
    rank: int, mesh: Mesh, ring: Any, raw: socket.socket | None, count: int, times: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds of one sum of `count` numbers, a figure each round, by contestant."""
    import tensorflow as tf

    x = tf.random.stateless_normal((count,), (rank, count))
    into = np.zeros(count, np.float32)
    own = np.asarray(x)

    def by_mesh() -> Any:
        return tf.experimental.dlpack.from_dlpack(mesh.all_reduce(x).__dlpack__())

    contestants: dict[str, Callable[[], Any]] = {MESH: by_mesh, RING: lambda: ring(x)}
    if raw is not None:
        contestants[RAW] = lambda: exchange(raw, own.view(np.uint8).data, into.view(np.uint8).data)
    contestants[COPY] = lambda: np.copyto(into, own)
    same = np.allclose(by_mesh().numpy(), ring(x).numpy(), rtol=1e-5, atol=1e-5)
    assert same, "the mesh and TensorFlow disagree"
    seconds: dict[str, list[float]] = {who: [] for who in contestants}
    order = list(contestants.items())
    for number in range(rounds + 2):
        for who, reduce in order if number % 2 else order[::-1]:
            mesh.all_reduce(np.zeros(1, np.float32))  # all begin together
            began = time.perf_counter()
            for _ in range(times):
                result = reduce()
                if result is not None:
                    result[:1].numpy()
            took = (time.perf_counter() - began) / times
            if number >= 2:  # the first two warm up
                seconds[who].append(took)
            del result
    return seconds


def judged(ranks: list[dict[str, list[float]]], times: int) -> dict[str, Any]:
    """What the ranks' seconds of one size say."""
    slowest = {who: [max(rounds) for rounds in zip(*(r[who] for r in ranks), strict=True)]
               for who in ranks[0]}  # fmt: skip
    logs = [math.log(t / m) for t, m in zip(slowest[RING], slowest[MESH], strict=True)]
    chance = random.Random(0)
    means = sorted(statistics.mean(chance.choices(logs, k=len(logs))) for _ in range(2000))
    median = {who: statistics.median(values) for who, values in slowest.items()}
    return {
        "milliseconds": {who: 1000 * value for who, value in median.items()},
        "sums_a_round": times,
        "ratio": math.exp(statistics.mean(logs)),
        "ratio_lower": math.exp(means[50]),
        "ratio_upper": math.exp(means[-51]),
        "of_raw_tcp": median[RAW] / median[MESH] if RAW in median else None,
        "of_memory_copy": median[COPY] / median[MESH],
    }


def report(megabytes: float, figures: dict[str, Any]) -> None:
    times = "  ".join(f"{who} {ms:8.3f} ms" for who, ms in figures["milliseconds"].items())
    limit = figures["of_raw_tcp"]
    print(
        f"  {megabytes:5} MB  {times}  tensorflow / mesh {figures['ratio']:.2f} "
        f"({figures['ratio_lower']:.2f}–{figures['ratio_upper']:.2f})"
        + (f", {limit:.0%} of raw TCP" if limit else "")
        + f", {figures['of_memory_copy']:.0%} of a copy"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
