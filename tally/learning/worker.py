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

import contextlib
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
from tally.errors import RunError, SpecError, TallyError  # noqa: E402
from tally.gang.collective import Collective  # noqa: E402
from tally.gang.coordinator.client import Member  # noqa: E402
from tally.gang.coordinator.events import CoordinatorLost  # noqa: E402
from tally.gang.messages import Failed, Message, Ready, WorkerConfig, encode  # noqa: E402
from tally.learning.dataset_copy import local_dataset  # noqa: E402
from tally.learning.tensorflow import environment  # noqa: E402
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
    collective = _engine(config, here.host)
    training, startup = prepared(config, dataset)

    from tally.learning.generations import Life

    measured = _measured(here)
    life = Life(config, training, dataset.splits["train"], member, stopping, tell, measured)
    left = threading.Event()

    def leave() -> None:
        left.set()
        threading.Thread(target=member.leave, args=("SIGTERM",)).start()

    _on_terminate(leave)
    tell(Ready(startup, int(training.model.count_params())))
    try:
        code = life.live(collective)
        return TERMINATED if left.is_set() and code == 0 else code
    except _tensorflow_error() as error:
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


def _engine(config: WorkerConfig, host: str) -> Collective:
    """What the gang's workers sum with; TensorFlow's own has to be there before any operation."""
    if config.collective == "multiworker":
        environment.load_keras()
        environment.use_cores(config.cores)
        from tally.learning.tensorflow.multiworker.engine import MultiWorker

        return MultiWorker(host, config.silent_seconds)
    from tally.gang.mesh.mesh import Mesh

    return Mesh(host=host, timeout_seconds=config.silent_seconds)


def prepared(config: WorkerConfig, dataset: Any) -> tuple[Any, dict[str, float]]:
    """The training with every shape compiled that it can meet, and its startup seconds.

    It is spread over the accelerators of this worker where there are several.

    Raises:
        SpecError: the user's model fails.
    """
    startup = {"python": time.monotonic() - _BEGAN}
    began = time.monotonic()
    keras = environment.load_keras()
    environment.use_cores(config.cores)
    startup["import"], began = time.monotonic() - began, time.monotonic()
    keras.utils.set_random_seed(config.seed)

    from tally.learning.tensorflow import devices

    over = devices.strategy()
    with over.scope() if over else contextlib.nullcontext():
        model = registry.build(config.model, dataset.meta)
        startup["build"], began = time.monotonic() - began, time.monotonic()
        training = _traced(config, dataset, model)
    startup["trace"] = time.monotonic() - began
    return training, startup


def _traced(config: WorkerConfig, dataset: Any, model: Any) -> Any:
    from tally.learning import batches
    from tally.learning.moment import StepPlan
    from tally.learning.tensorflow import loop

    plan = StepPlan(
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        virtual_shards=config.virtual_shards,
        deterministic=config.deterministic,
        max_workers=config.max_workers,
        batches=batches.reachable(config.batch_size, config.largest_batch)
        if config.largest_batch
        else (),
    )
    try:
        training = loop.prepare(model, dataset.meta, plan)
        if config.max_workers > 1 or plan.batches:
            loop.warm(training)
    except TallyError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise SpecError(
            f"{config.model}: expected a model that trains on dataset {dataset.meta.name}, got "
            f"{type(error).__name__}: {words}; check its layers, loss and optimizer"
        ) from error
    return training


def _end_alone(stopping: threading.Event) -> None:
    """The conductor's process is gone: the training ends at the next step, and surely soon."""
    stopping.set()
    time.sleep(END_SECONDS)
    os._exit(COORDINATOR_LOST)


def _tensorflow_error() -> type[Exception]:
    import tensorflow as tf

    return tf.errors.OpError  # type: ignore[no-any-return]


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
