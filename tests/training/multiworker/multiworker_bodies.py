"""What the children of these tests' nurseries do."""

import json
import os
import threading
import time

import numpy as np


def arithmetic(engine, arguments, shared, told):
    """One of each call a generation, on numbers whose sums the test knows."""
    for membership in shared.generations():
        engine.join(membership)
        rank, world = membership.rank, membership.world_size
        said = {"generation": membership.generation, "pid": os.getpid()}
        for dtype in ("float32", "float64", "int32", "int64"):
            vector = np.arange(1000).astype(dtype) * (rank + 1)
            total = engine.all_reduce(vector)
            assert total.dtype == dtype
            said[dtype] = total[[1, -1]].tolist()
        random = np.random.default_rng(7)
        rows = random.standard_normal((world * (world + 1) // 2 - 1, 37)).astype(np.float32)
        first = rank * (rank + 1) // 2 - (rank > 0)  # 0 rows of rank 0, then 2, 3, …
        mine = rows[first : first + (rank + 1 if rank else 0)]
        folded = engine.fold(mine)
        expected = np.zeros(37, np.float32)
        if len(rows):
            expected = rows[0].copy()
            for row in rows[1:]:
                expected += row
        said["folded"] = folded.tobytes() == expected.tobytes()
        for root in range(world):
            text = b"from %d" % root * 1001
            got = engine.broadcast(text if rank == root else None, root)
            said[f"broadcast {root}"] = bytes(got) == text
        said["nothing"] = len(engine.broadcast(b"" if rank == 0 else None, 0))
        shared.commit({"sum": said["int64"]}, {})
        told(json.dumps(said).encode())


def steps(engine, arguments, shared, told):
    """Counts steps in the weights, until it is paused, interrupted or loses a peer.

    A step adds one to each of `size` weights, shared out over the ranks in whole numbers.
    """
    import tensorflow as tf

    from tally.training.collective import CollectiveError

    weights = tf.Variable(tf.zeros(arguments["size"], tf.float64))
    done = 0
    for membership in shared.generations():
        held = shared.load()
        if held and held[0]["done"] > done:
            done = held[0]["done"]
            weights.assign(held[1]["weights"])
        end = "paused"
        try:
            engine.join(membership)
            have = np.zeros(membership.world_size, np.int64)
            have[membership.rank] = done + 1
            donor = int(np.argmax(engine.all_reduce(have)))
            given = weights.numpy().tobytes() if donor == membership.rank else None
            weights.assign(np.frombuffer(engine.broadcast(given, donor), np.float64))
            done = int(weights.numpy()[0])
            while True:
                share = np.full(arguments["size"] + 1, 1.0 / membership.world_size)
                share[-1] = shared.paused()
                total = engine.all_reduce(tf.constant(share))
                weights.assign_add(tf.round(total[:-1]))
                done += 1
                told(
                    json.dumps({"step": done, "at": time.monotonic(), "pid": os.getpid()}).encode()
                )
                if float(total[-1]):
                    break
        except CollectiveError as error:
            end = type(error).__name__
        even = bool((weights.numpy() == done).all())
        shared.commit({"done": done}, {"weights": weights.numpy()})
        told(json.dumps({"end": end, "done": done, "even": even, "at": time.monotonic()}).encode())


def stuck(engine, arguments, shared, told):
    """Hears nothing."""
    for _ in shared.generations():
        told(b"stuck")
        threading.Event().wait(60)


def failing(engine, arguments, shared, told):
    """Fails."""
    for _ in shared.generations():
        raise ValueError("a body's own mistake")
