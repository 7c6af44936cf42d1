"""A worker of a gang: `python -m tally.learning.worker`, as a local process or in a pod.

What it is to do comes from the coordinator, where it also says how it goes. Its environment:

    TALLY_COORDINATOR     host:port of the coordinator
    TALLY_TOKEN_FILE      a file with the run's token
    TALLY_WORKER          its name in the gang: "0", "1", … (in a pod: JOB_COMPLETION_INDEX)
    TALLY_HOST            the address it listens at for its peers; default 127.0.0.1
    TALLY_UID             of this life; a pod's uid, else made of the process's id
    TALLY_CACHE           a folder for datasets that are elsewhere
    TALLY_METRICS_PORT    where Prometheus reads its metrics, at TALLY_HOST; default none

SIGTERM asks the coordinator to go on without this worker, which then ends with 143: Kubernetes
takes 0 for a worker that is done and needs no successor. It ends by itself when the coordinator is
gone, after a checkpoint: with 75, which says so to Kubernetes.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

_BEGAN = time.monotonic()

from tally import lifeline, userfile  # noqa: E402
from tally.data.format import open_dataset  # noqa: E402
from tally.errors import RunError, TallyError  # noqa: E402
from tally.gang.coordinator.client import Member  # noqa: E402
from tally.gang.coordinator.events import CoordinatorLost  # noqa: E402
from tally.gang.messages import Failed, Message, Ready, WorkerConfig, encode  # noqa: E402
from tally.learning import framework  # noqa: E402
from tally.learning.dataset_copy import local_dataset  # noqa: E402
from tally.models import registry  # noqa: E402

COORDINATOR_LOST = 75
TERMINATED = 143
END_SECONDS = 3.0  # for the last step and a checkpoint once the conductor's process is gone


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """Which worker this is and where, as its environment says; see the module."""

    coordinator: str
    token_file: Path
    name: str
    uid: str
    host: str
    cache: Path
    has_metrics: bool

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "WorkerContext":
        """Read once, as the process begins.

        Raises:
            KeyError: it is no worker's.
        """
        return cls(
            coordinator=environment["TALLY_COORDINATOR"],
            token_file=Path(environment["TALLY_TOKEN_FILE"]),
            name=environment.get("TALLY_WORKER") or environment["JOB_COMPLETION_INDEX"],
            uid=environment.get("TALLY_UID") or f"local:{os.getpid()}",
            host=environment.get("TALLY_HOST", "127.0.0.1"),
            cache=Path(environment.get("TALLY_CACHE") or "cache"),
            has_metrics=bool(environment.get("TALLY_METRICS_PORT")),
        )


def main() -> int:
    """Work; the exit code: 0 all is done or others go on, 75, 76, 143, or a TallyError's."""
    here = WorkerContext.read()
    token = here.token_file.read_bytes().strip()
    member = Member(here.coordinator, token, here.name, here.uid)

    def tell(message: Message) -> None:
        member.tell(encode(message))

    _on_terminate(
        lambda: os._exit(TERMINATED)
    )  # importing takes seconds, and there is nothing to save yet
    try:
        return _work(here, member, tell)
    except CoordinatorLost as error:
        print(error, file=sys.stderr)
        return COORDINATOR_LOST
    except TallyError as error:
        if error.story:
            print(error.story, file=sys.stderr)
        tell(Failed(str(error), error.exit_code))
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        words = " ".join(str(error).split())[:300]
        tell(
            Failed(
                f"train: expected to train, got {type(error).__name__}: {words}; "
                "the whole story is in the run's log",
                1,
            )
        )
        return 1
    finally:
        member.close()


def _work(here: WorkerContext, member: Member, tell: Any) -> int:
    """Find out what to do, get ready for it, do it."""
    config = WorkerConfig.from_json(member.join())
    userfile.unpack()
    stopping = threading.Event()
    if config.parent_pid:
        lifeline.when_gone(config.parent_pid, lambda: _end_alone(stopping))
    folder = local_dataset(config.dataset, config.dataset_fingerprint, here.cache, member.fetch)
    dataset = open_dataset(folder)
    registry.check(config.model, dataset.meta)
    collective = framework.collective(config, here.host)
    startup = {"python": time.monotonic() - _BEGAN}
    training, seconds = framework.prepared(config, dataset)

    from tally.learning.generations import Life

    measured = _measured(here)
    life = Life(config, training, dataset.splits["train"], member, stopping, tell, measured)
    left = threading.Event()

    def leave() -> None:
        left.set()
        threading.Thread(target=member.leave, args=("SIGTERM",)).start()

    _on_terminate(leave)
    tell(Ready(startup | seconds, training.parameters))
    try:
        code = life.live(collective)
        return TERMINATED if left.is_set() and code == 0 else code
    except training.fault as error:
        words = " ".join(str(error).split())[:300]
        raise RunError(
            f"train: expected TensorFlow to compute a step, got {type(error).__name__}: "
            f"{words}; check the model and the dataset's values"
        ) from error


def _measured(here: WorkerContext) -> Any:
    """What takes in each step for Prometheus, or None; its library is loaded only where it asks."""
    if not here.has_metrics:
        return None
    from tally.gang import worker_metrics

    return worker_metrics.serve(here.host).observe


def _end_alone(stopping: threading.Event) -> None:
    """The conductor's process is gone: the training ends at the next step, and surely soon."""
    stopping.set()
    time.sleep(END_SECONDS)
    os._exit(COORDINATOR_LOST)


def _on_terminate(action: Any) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        action()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the conductor passes on what a terminal sends


def _leave(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # all is written and synced, and TensorFlow takes a second to let go


if __name__ == "__main__":
    _leave(main())
