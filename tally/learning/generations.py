"""A worker's life through the generations of its gang: form, agree, train, rest, and again."""

import threading
from collections.abc import Callable
from dataclasses import replace

from tally import storage
from tally.data.format import Split
from tally.errors import RunError
from tally.gang.collective import Collective, CollectiveError
from tally.gang.coordinator.client import Member
from tally.gang.coordinator.events import End, Generation, Observation
from tally.gang.messages import Finished, Message, Note, Started, Stopped, WorkerConfig
from tally.learning import advance, checkpoint, elastic, output, state, warm
from tally.learning.backend import Backend
from tally.learning.position import Position
from tally.learning.saving import Saver
from tally.learning.standing import Place, Standing

COORDINATOR_LOST = 75  # on Kubernetes it fails the Job: nobody restarts an orphan
ENDS = {"dismissed": 0, "finished": 0, "dropped": 76, "refused": 2}
LOOK_SECONDS = 0.2


class Life:
    """What a worker keeps from one generation to the next: the Outside of its trainings."""

    def __init__(
        self,
        config: WorkerConfig,
        training: Backend,
        split: Split,
        member: Member,
        stopping: threading.Event,
        tell: Callable[[Message], None],
        measured: Callable[[Observation, Standing, int], None] | None = None,
    ) -> None:
        self._config, self._training, self._split = config, training, split
        self._member, self._stopping, self.tell = member, stopping, tell
        self._spec = state.spec(config)
        self._saver = Saver(config, training, self._spec, tell)
        self._standing, self._has_state = Standing(Position()), False
        self._generation = self._world_size = 0
        self._measured = measured

    def live(self, collective: Collective) -> int:
        """Take part in generations until the end.

        Args:
            collective: its `interrupt` is called from other threads.

        Returns:
            The worker's exit code.

        Raises:
            CoordinatorLost: while this worker waited.
            RunError: the training failed.
        """
        self._member.on_urgent(lambda generation: collective.interrupt())
        self._member.ready(collective.address)
        while True:
            order = self._member.next(self._generation)
            if isinstance(order, End):
                return ENDS[order.reason]
            assert order is not None, "without a time-out there is an order"
            self._generation = order.membership.generation
            if order.order == "stop":
                return self._stop(order)
            try:
                self._agree(order, collective)
                self._train(order, collective)
                error = None
            except CollectiveError as lost:
                print(f"generation {self._generation}: {lost}", flush=True)
                error = lost
            if self.stopping():
                return self._end_alone(order, error)
            if self._done and error is None:
                self._finish(order)
            self._member.rest(self._generation, self._standing.position.steps, self._has_state)

    def paused(self) -> bool:
        """As Outside."""
        return self._member.paused(self._generation)

    def stopping(self) -> bool:
        """As Outside."""
        return self._stopping.is_set() or self._member.lost

    def observe(self, observation: Observation) -> None:
        """As Outside."""
        self._member.observe(observation)
        if self._measured:
            self._measured(observation, self._standing, self._world_size)

    def save(self, position: Position) -> None:
        """As Outside."""
        self._saver.save(position)

    @property
    def _done(self) -> bool:
        return advance.finished(self._config, self._standing.position, len(self._split))

    def _agree(self, order: Generation, collective: Collective) -> None:
        """All ranks take the donor's state."""
        membership = order.membership
        is_donor = membership.rank == order.donor
        alone = membership.world_size == 1
        if not alone or self._config.deterministic:
            collective.join(membership)
        if order.fresh and is_donor:
            self._begin()
        if not alone:
            mine = state.pack(self._training, self._standing.position) if is_donor else None
            data = collective.broadcast(mine, order.donor)
            if not is_donor:
                self._standing.position = state.unpack(self._training, bytes(data))
        self._has_state = True

    def _begin(self) -> None:
        """Nobody has trained yet, or nobody lives who has: from the newest checkpoint, if any."""
        folder = storage.location(self._config.checkpoint_folder)
        found = checkpoint.latest(folder, lambda line: self.tell(Note(line)))
        if found:
            checkpoint.require_same(found, self._spec, folder)
            self._training.assign(found.tensors, str(folder))
        elif self._config.start_weights:
            warm.start(self._training, storage.location(self._config.start_weights))
        position = found.position if found else Position()
        position = advance.begun(position, len(self._split), self._config.batch_size)
        self._standing.position = position
        if not self._done:
            at = found.saved_at_microseconds if found else None
            self.tell(Started(position.epoch, position.offset, at))
            for line in self._training.remarks(self._config, self._split):
                self.tell(Note(line))

    def _train(self, order: Generation, collective: Collective) -> None:
        membership = order.membership
        place = Place(membership.generation, membership.rank, membership.world_size)
        self._world_size = place.world_size
        alone = place.world_size == 1 and not self._config.deterministic
        used, position = None if alone else collective, self._standing.position
        size = order.batch_size or position.batch_size
        self._standing.position = replace(position, batch_size=size)
        training = self._training.sized(size)
        elastic.train(self._config, training, self._split, self._standing, place, used, self)

    def _finish(self, order: Generation) -> None:
        """Rank 0 writes the model; all wait until the end, or until a pause shows it died."""
        if order.membership.rank == 0:
            self._saver.wait()
            position = self._standing.position
            folder = storage.location(self._config.model_folder)
            output.write(folder, self._training, position, lambda line: self.tell(Note(line)))
            last = position.history[-1]
            self.tell(
                Finished(position.examples_trained, last.loss, position.seconds, last.figures)
            )
        while not self.paused() and self._member.next(self._generation, LOOK_SECONDS) is None:
            pass

    def _stop(self, order: Generation) -> int:
        """The conductor ends the training: the donor leaves a checkpoint."""
        self._saver.wait()
        position = self._standing.position
        if order.membership.rank == order.donor:
            if position.examples_trained and self._has_state:
                self._saver.save(position)
                self._saver.wait()
            self.tell(Stopped(position.epoch, position.offset, position.examples_trained))
        return 0

    def _end_alone(self, order: Generation, error: CollectiveError | None) -> int:
        """Nobody conducts any more: a checkpoint, if it can be written, and the end."""
        rank = order.membership.rank
        # After a lost step ranks may differ by one: each saves what it has, under its own name.
        if self._has_state and (error is not None or rank == 0):
            try:
                self._saver.wait()
                self._saver.save(self._standing.position)
                self._saver.wait()
            except RunError as failed:
                print(failed, flush=True)
        return COORDINATOR_LOST
