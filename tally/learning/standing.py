"""Where a worker's training stands in its gang, and whom it tells and hears."""

from dataclasses import dataclass
from typing import Protocol

from tally.gang.coordinator.events import Observation
from tally.gang.messages import Message
from tally.learning.advance import Done
from tally.learning.position import Position


class Outside(Protocol):
    """What a training hears from outside its steps, and tells."""

    def paused(self) -> bool:
        """Whether the coordinator wants this generation to end at the next step boundary."""

    def stopping(self) -> bool:
        """Whether the whole gang has to end: its conductor is gone."""

    def tell(self, message: Message) -> None:
        """A message to the conductor."""

    def observe(self, observation: Observation) -> None:
        """How fast it goes; only the last one counts."""

    def save(self, position: Position) -> None:
        """Make a checkpoint of the variables as they are now."""


@dataclass(frozen=True)
class Place:
    """Where in the gang this worker is."""

    generation: int = 1
    rank: int = 0
    world_size: int = 1


@dataclass
class Standing:
    """How far this worker's variables have come: kept when a step is abandoned.

    waited_seconds: spent in barriers beyond what the fastest of the recent sums took.
    steps, own_examples: that this worker took, and computed, in this life.
    """

    position: Position
    waited_seconds: float = 0.0
    steps: int = 0
    own_examples: int = 0

    def moved(self, position: Position, done: Done) -> None:
        """What was done is in the variables: they stand at `position` now."""
        self.position = position
        self.waited_seconds += done.wait_seconds
        self.steps += done.steps
        self.own_examples += done.own_examples
