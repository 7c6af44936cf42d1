"""A worker that trains nothing, or a coordinator, as a process of its own.

python coordinator_process.py worker ADDRESS NAME   says what happens to it, a line each
python coordinator_process.py coordinator           says its address, then serves until killed
"""

import os
import sys
import threading
import time

from tally.gang.coordinator.client import Member
from tally.gang.coordinator.events import CoordinatorLost, End
from tally.gang.coordinator.server import Coordinator

TOKEN = b"a-token-of-the-test"
LOST_SECONDS = 2.0


def say(*words: object) -> None:
    print(*words, flush=True)


def work(address: str, name: str) -> int:
    member = Member(address, TOKEN, name, f"pid:{os.getpid()}", lost_seconds=LOST_SECONDS)
    member.join()
    member.ready(f"127.0.0.1:{9000 + int(name)}")
    generation, step = 0, 0
    try:
        while True:
            order = member.next(generation)
            if isinstance(order, End):
                say("end", order.reason)
                return 0
            assert order is not None
            generation = order.membership.generation
            say("generation", generation, order.membership.rank, order.membership.world_size)
            if order.order == "stop":
                return 0
            while not member.paused(generation):
                step += 1
                time.sleep(0.001)
            member.rest(generation, step, True)
    except CoordinatorLost:
        say("lost")
        return 75
    finally:
        member.close()


def serve() -> None:
    coordinator = Coordinator(TOKEN, {}, lambda event: say(event), workers=1)
    say(coordinator.address)
    threading.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "coordinator":
        serve()
    else:
        code = work(sys.argv[2], sys.argv[3])
        sys.stdout.flush()
        os._exit(code)
