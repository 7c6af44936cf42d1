"""Checkpoints written beside the training: the variables are copied, a thread writes the copy."""

import threading
from collections.abc import Callable

import numpy as np

from tally import clock, storage
from tally.gang.messages import Message, Saved, WorkerConfig
from tally.learning import checkpoint, elastic
from tally.learning.backend import Backend
from tally.learning.checkpoint import Checkpoint
from tally.learning.position import Position


class Saver:
    """Saves one checkpoint at a time, in the order they were asked for."""

    def __init__(
        self,
        config: WorkerConfig,
        training: Backend,
        spec: dict[str, str | int],
        tell: Callable[[Message], None],
    ) -> None:
        self._config, self._training, self._spec, self._tell = config, training, spec, tell
        self._folder = storage.location(config.checkpoint_folder)
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def save(self, position: Position) -> None:
        """Begin a checkpoint of the variables as they are now.

        Raises:
            RunError: the one before could not be written, or a weight is not finite: there is
                nothing to go on from.
        """
        self.wait()
        at = clock.now_microseconds()
        tensors = self._training.variables()
        for name, value in tensors.items():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                where = f"in {name} (epoch {position.epoch + 1}, example {position.offset})"
                what = f"weight, got nan or infinity {where}"
                raise elastic.diverged(what, self._config, self._training)
        made = Checkpoint(self._spec, position, at, tensors)
        self._thread = threading.Thread(target=self._write, args=(made,), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Until the checkpoint under way is written.

        Raises:
            RunError: it could not be: a full disk, a store that does not answer.
        """
        if self._thread is not None:
            self._thread.join()  # its store has a deadline
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, made: Checkpoint) -> None:
        try:
            checkpoint.save(self._folder, made)
        except Exception as error:  # raised by the next wait
            self._error = error
        else:
            position = made.position
            self._tell(Saved(position.epoch, position.offset, made.saved_at_microseconds))
