"""A worker: `python -m tally.training.worker CONFIG.json MESSAGES_FD`.

A process of its own that trains and tells its conductor how it goes, in JSON lines on the given
file descriptor. SIGTERM and SIGINT end it after a checkpoint; so does the end of its conductor.
"""

import hashlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

_BEGAN = time.monotonic()

from tally import lifeline  # noqa: E402
from tally.data.format import Dataset, open_dataset  # noqa: E402
from tally.errors import RunError, SpecError, TallyError  # noqa: E402
from tally.models import registry  # noqa: E402
from tally.training import checkpoint, environment, output  # noqa: E402
from tally.training.checkpoint import Checkpoint, Position  # noqa: E402
from tally.training.messages import (  # noqa: E402
    Failed,
    Finished,
    Message,
    Note,
    Ready,
    Started,
    Stopped,
    WorkerConfig,
    encode,
)
from tally.userfile import is_user_file  # noqa: E402

Tell = Callable[[Message], None]


def main(arguments: list[str]) -> int:
    """Work; returns the exit code: 0 finished or stopped as asked, else a TallyError's."""
    stop = threading.Event()
    _on_signals(lambda: stop.set())
    descriptor = int(arguments[1])

    def tell(message: Message) -> None:
        try:
            os.write(descriptor, encode(message))
        except BrokenPipeError:
            stop.set()  # nobody listens: the conductor is gone or going

    try:
        config = WorkerConfig.read(Path(arguments[0]))
        lifeline.end_with(config.parent_pid)
        _work(config, tell, stop)
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
    return 0


def _work(config: WorkerConfig, tell: Tell, stop: threading.Event) -> None:
    """Find out where to begin, build, train, write the model."""
    dataset = open_dataset(Path(config.dataset_folder))
    registry.check(config.model, dataset.meta)
    spec: dict[str, str | int] = {
        "dataset": dataset.fingerprint,
        "model": config.model,
        "batch_size": config.batch_size,
        "seed": config.seed,
    }
    if is_user_file(config.model) and Path(config.model).is_file():
        # an edited model must not go on from weights of what it was
        spec["model_sha256"] = hashlib.sha256(Path(config.model).read_bytes()).hexdigest()
    folder = Path(config.checkpoint_folder)
    found = checkpoint.latest(folder, lambda line: tell(Note(line)))
    if found:
        checkpoint.require_same(found, spec, folder)
    position = found.position if found else Position()

    def leave() -> None:
        tell(Stopped(position.epoch, position.offset, position.examples_trained))

    def leave_at_once() -> NoReturn:
        leave()
        os._exit(0)

    if stop.is_set():
        return leave()
    _on_signals(leave_at_once)  # importing takes seconds, and there is nothing to save yet
    training, startup = _prepared(config, dataset, found)
    _on_signals(lambda: stop.set())

    from tally.training import epochs

    tell(Ready(startup, int(training.model.count_params())))
    if position.epoch < config.epochs:
        saved_at = found.saved_at_microseconds if found else None
        tell(Started(position.epoch, position.offset, saved_at))
        split = dataset.splits["train"]
        try:
            position = epochs.train(config, training, split, position, spec, tell, stop.is_set)
        except _tensorflow_error() as error:
            words = " ".join(str(error).split())[:300]
            raise RunError(
                f"train: expected TensorFlow to compute a step, got {type(error).__name__}: "
                f"{words}; check the model and the dataset's values"
            ) from error
    if position.epoch < config.epochs:
        return leave()
    output.write(Path(config.model_folder), training, position, lambda line: tell(Note(line)))
    last = position.history[-1]
    tell(Finished(position.examples_trained, last.loss, last.accuracy, position.seconds))
    return None


def _prepared(
    config: WorkerConfig, dataset: Dataset, found: Checkpoint | None
) -> tuple[Any, dict[str, float]]:
    """The traced training with its variables as the checkpoint has them, and startup seconds.

    Raises:
        SpecError: the user's model fails, or is not the one that the checkpoint was made of.
    """
    startup = {"python": time.monotonic() - _BEGAN}
    began = time.monotonic()
    keras = environment.load_keras()
    startup["import"], began = time.monotonic() - began, time.monotonic()
    keras.utils.set_random_seed(config.seed)
    model = registry.build(config.model, dataset.meta)
    startup["build"], began = time.monotonic() - began, time.monotonic()

    from tally.training import loop

    try:
        training = loop.prepare(model, dataset.meta, config.batch_size, config.learning_rate)
    except TallyError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise SpecError(
            f"{config.model}: expected a model that trains on dataset {dataset.meta.name}, got "
            f"{type(error).__name__}: {words}; check its layers, loss and optimizer"
        ) from error
    startup["trace"], began = time.monotonic() - began, time.monotonic()
    if found:
        loop.assign(loop.variables(training), dict(found.tensors), config.checkpoint_folder)
    startup["restore"] = time.monotonic() - began
    return training, startup


def _tensorflow_error() -> type[Exception]:
    import tensorflow as tf

    return tf.errors.OpError  # type: ignore[no-any-return]


def _on_signals(action: Callable[[], None]) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        action()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # all is written and synced, and TensorFlow takes a second to let go
