"""A worker's process that is built and warm once, and lives in one gang after another.

Lines of JSON in: a life to begin, then the address that peers are told. Out: "warm", the mesh's own
address, how the life ended.
"""

import json
import os
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from tally.data.format import open_dataset
from tally.errors import TallyError
from tally.gang.coordinator.client import Member
from tally.gang.mesh.mesh import Mesh
from tally.gang.messages import WorkerConfig, encode
from tally.learning.framework import prepared


class Fronted(Mesh):
    """Peers reach it at another address."""

    front = ""

    @property
    def address(self) -> str:
        return self.front or super().address


_lines = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the worker prints is for the log


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True, file=_lines)


def main() -> None:
    config = WorkerConfig.from_json(json.loads(sys.argv[1]))
    dataset = open_dataset(Path(config.dataset))
    training, _ = prepared(config, dataset)
    from tally.learning.generations import Life

    kept = training.variables()
    say(warm=True)
    for line in sys.stdin:
        told = json.loads(line)
        here = replace(config, checkpoint_folder=told["checkpoints"], model_folder=told["model"])
        training.assign(kept, "the test")
        mesh = Fronted(timeout_seconds=config.silent_seconds)
        say(address=mesh.address)
        mesh.front = sys.stdin.readline().strip()
        member = Member(
            told["coordinator"], told["token"].encode(), told["worker"], told["uid"], lost_seconds=3
        )
        stopping = threading.Event()
        try:
            member.join()
            life = Life(
                here, training, dataset.splits["train"], member, stopping,
                lambda message, to=member: to.tell(encode(message)),
            )  # fmt: skip
            say(uid=told["uid"], end=f"code {life.live(mesh)}")
        except TallyError as error:
            say(uid=told["uid"], end=f"error {error}")
        except Exception:
            traceback.print_exc()
            say(uid=told["uid"], end="defect")
        finally:
            member.close()
            mesh.close()


if __name__ == "__main__":
    main()
    os._exit(0)
