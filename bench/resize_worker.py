"""A worker of bench.resize: built and warmed once, in a gang whenever it is told to join one.

What tally.learning.worker does, but for the order: it is warm before it joins, and after it was
left out it joins again. Each step's end goes to the trace, a file that all processes append to.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from bench.resize_trace import Trace
from tally.data.format import open_dataset
from tally.gang.coordinator.client import Member
from tally.gang.coordinator.events import Observation
from tally.gang.messages import WorkerConfig, encode
from tally.learning.tensorflow import environment


class TracedMember(Member):
    """Notes when a step was done before it does what it does."""

    def __init__(self, trace: Trace, address: str, token: bytes, worker: str, uid: str) -> None:
        super().__init__(address, token, worker, uid)
        self._trace, self._name = trace, worker

    def observe(self, observation: Observation) -> None:
        self._trace.write(self._name, observation.generation, observation.step)
        super().observe(observation)


def main() -> int:
    """Get warm, say so, join a gang for each line that comes, until there are no more lines."""
    given = json.loads(sys.argv[1])
    config = WorkerConfig.from_json(given["config"])
    trace = Trace(given["trace"])
    if given["engine"] in ("forked", "unready", "cold"):
        from bench.generations.worker import agent

        live, close = agent(given)
    else:
        live, close = in_process(given["engine"], config)
    print("warm", flush=True)
    os.dup2(2, 1)  # what the worker prints from here on is for the log
    for line in sys.stdin:
        told = json.loads(line)
        token = Path(given["token"]).read_bytes()
        member = TracedMember(trace, told["address"], token, told["worker"], told["uid"])
        member.join()
        live(member, told["worker"])
        member.close()
    close()
    return 0


def in_process(engine: str, config: WorkerConfig) -> tuple[Any, Any]:
    """One process for all generations: how to take part in them, and what to close."""
    environment.load_keras()
    environment.use_cores(config.cores)
    collective: Any = None
    if engine == "in place":
        from tally.learning.tensorflow.multiworker.engine import MultiWorker

        collective = MultiWorker(timeout_seconds=config.silent_seconds)
    from tally.gang.mesh.mesh import Mesh
    from tally.learning.framework import prepared
    from tally.learning.generations import Life

    dataset = open_dataset(Path(config.dataset))
    training, _ = prepared(config, dataset)

    def live(member: Member, worker: str) -> None:
        mesh = collective or Mesh(timeout_seconds=config.silent_seconds)
        stopping = threading.Event()
        split = dataset.splits["train"]
        Life(config, training, split, member, stopping, lambda m: member.tell(encode(m))).live(mesh)
        if mesh is not collective:
            mesh.close()

    return live, lambda: None


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # TensorFlow takes a second to let go
