"""A worker of bench.resize whose generations run each in a process of its own.

The agent is a member of the gang and imports no TensorFlow; its nursery makes the children. Weights
pass from child to child in memory, and to newcomers by broadcast from the rank that has done the
most steps.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.generations.agent import Nursery
from bench.resize_trace import Trace
from tally.gang.collective import Collective, CollectiveError, Membership
from tally.gang.coordinator.client import Member
from tally.gang.coordinator.events import End, Generation, Observation
from tally.gang.messages import WorkerConfig

BODY = "bench.generations.worker:body"
PRELOAD = ("tally.learning.elastic", "tally.learning.framework", "bench.generations.worker")
WARM_SECONDS = 120.0
LOOK_SECONDS = 0.002


def agent(given: dict[str, Any]) -> tuple[Callable[[Member, str], None], Callable[[], None]]:
    """How to take part in generations, and what to close."""
    cores = str(given["config"]["cores"])
    # its engine makes TensorFlow's context before the config says how many threads
    os.environ |= {"TF_NUM_INTRAOP_THREADS": cores, "TF_NUM_INTEROP_THREADS": "1"}
    nursery = Nursery(
        {"timeout_seconds": 10.0, "preload": PRELOAD},
        cold=given["engine"] == "cold",
        reuse=False,
        log=open(given["log"], "ab"),  # noqa: SIM115 - it is the children's
    )
    ready = given["engine"] == "forked"
    arguments = {"config": given["config"], "trace": given["trace"], "ready": ready}
    if ready:
        nursery.prepare(BODY, arguments)
        nursery.wait_ready(WARM_SECONDS)

    def live(member: Member, worker: str) -> None:
        member.on_urgent(nursery.interrupt)
        member.ready(nursery.address)
        generation = 0
        while not isinstance(order := member.next(generation), End):
            assert order is not None
            generation = order.membership.generation
            _serve(nursery, member, order, arguments)

    return live, nursery.close


def _serve(
    nursery: Nursery, member: Member, order: Generation, arguments: Mapping[str, Any]
) -> None:
    """One generation, in a child."""
    generation, over, steps = order.membership.generation, threading.Event(), 0

    def pass_on() -> None:
        while not over.wait(LOOK_SECONDS):
            if member.paused(generation):
                nursery.pause(generation)
                return

    def told(line: bytes) -> None:
        nonlocal steps
        if not steps and arguments["ready"]:  # the next child gets ready while this one trains
            nursery.prepare(BODY, arguments)
        steps += 1
        member.observe(Observation(**json.loads(line)))

    watch = threading.Thread(target=pass_on)
    watch.start()
    outcome = nursery.run(order.membership, BODY, arguments, told)
    over.set()
    watch.join()
    kept = nursery.load()
    print(f"generation {generation}: {outcome}", flush=True)
    member.rest(generation, kept[0]["steps"] if kept else 0, kept is not None)


def body(engine: Collective, arguments: Mapping[str, Any], shared: Any, told: Any) -> None:
    """A child: builds and warms, then serves generations."""
    from tally.data.format import open_dataset
    from tally.learning import elastic, state
    from tally.learning.framework import prepared
    from tally.learning.position import Position
    from tally.learning.standing import Place, Standing

    config = WorkerConfig.from_json(arguments["config"])
    dataset = open_dataset(Path(config.dataset))
    # without time to get ready, only what is needed is compiled, in the first step
    sizes = config.max_workers if arguments["ready"] else 1
    training, _ = prepared(replace(config, cores=0, max_workers=sizes), dataset)
    split = dataset.splits["train"]
    standing = Standing(Position())
    Trace(arguments["trace"]).write("0", 0, 0)
    for membership in shared.generations():
        held = shared.load()
        if held:
            standing.position = state.unpack(training, held[1]["state"].tobytes())
        try:
            engine.join(membership)
            _agree(engine, membership, training, standing, held[0]["steps"] if held else 0)
            place = Place(membership.generation, membership.rank, membership.world_size)
            outside = Outside(shared, told)
            used = None if membership.world_size == 1 else engine
            elastic.train(config, training, split, standing, place, used, outside)
        except CollectiveError as error:
            print(f"generation {membership.generation}: {error}", flush=True)
        steps = standing.position.steps
        packed = np.frombuffer(state.pack(training, standing.position), np.uint8)
        shared.commit({"steps": steps}, {"state": packed})


def _agree(
    engine: Collective, membership: Membership, training: Any, standing: Any, steps: int
) -> None:
    """All take the state of the rank that has done the most steps."""
    from tally.learning import state

    have = np.zeros(membership.world_size, np.int64)
    have[membership.rank] = steps + 1
    donor = int(np.argmax(engine.all_reduce(have)))
    mine = state.pack(training, standing.position) if donor == membership.rank else None
    data = engine.broadcast(mine, donor)
    if mine is None:
        standing.position = state.unpack(training, bytes(data))


class Outside:
    """What a child's training hears and tells."""

    def __init__(self, shared: Any, told: Callable[[bytes], None]) -> None:
        self.paused = shared.paused
        self._told = told

    def stopping(self) -> bool:
        return False

    def tell(self, message: Any) -> None:
        pass

    def observe(self, observation: Observation) -> None:
        self._told(json.dumps(asdict(observation)).encode())

    def save(self, position: Any) -> None:
        pass
