"""What the coordinator has told a worker so far."""

from typing import cast

from tally.gang.collective import Membership
from tally.gang.coordinator import coordinator_pb2 as pb
from tally.gang.coordinator.events import End, Generation, Reason


class Incoming:
    """Changed under the member's lock.

    Attributes:
        welcome: the newest; None before the first.
        order: the newest generation.
        generation: its id; 0 before the first.
        end: once there is one.
        paused_generation: this and older ones have to end.
        urgent_generation: of this and older ones the collective has to be interrupted.
    """

    def __init__(self) -> None:
        self.welcome: pb.Welcome | None = None
        self.order: Generation | None = None
        self.end: End | None = None
        self.generation = 0
        self.paused_generation = self.urgent_generation = 0

    def is_other(self, welcome: pb.Welcome) -> bool:
        """Whether another coordinator than before speaks."""
        return self.welcome is not None and self.welcome.coordinator != welcome.coordinator

    def has_to_end(self, generation: int) -> bool:
        """Whether that generation has to: a pause, or the end."""
        return self.paused_generation >= generation or self.end is not None

    def welcomed(self, welcome: pb.Welcome) -> None:
        """Let in, or in again after a cut: then the others wait for us to rest."""
        self.welcome = welcome
        self.paused_generation = self.urgent_generation = self.generation

    def paused(self, pause: pb.Pause) -> None:
        """A generation has to end."""
        self.paused_generation = max(self.paused_generation, pause.generation)
        if pause.urgent:
            self.urgent_generation = max(self.urgent_generation, pause.generation)

    def formed(self, made: pb.Generation) -> bool:
        """The next generation; False for one that is not newer."""
        if made.generation <= self.generation:
            return False
        membership = Membership(made.generation, made.rank, tuple(made.addresses), made.key)
        stops = made.order == "stop"
        self.order = Generation(
            membership,
            made.donor,
            made.fresh,
            order="stop" if stops else "train",
            batch_size=made.batch_size,
        )
        self.generation = made.generation
        return True

    def ended(self, reason: str, message: str) -> None:
        """This worker is out."""
        self.end = End(cast(Reason, reason), message)
        self.urgent_generation = self.generation
