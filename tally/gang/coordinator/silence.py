"""How long the coordinator has not answered a worker's heartbeats."""

import time

OUT_SECONDS = 1.0  # unknown to the coordinator for so long, with no End on its way


class Silence:
    """Changed under the member's lock.

    Attributes:
        seconds: since an answer.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = time.monotonic()

    def begin(self) -> None:
        """From now on heartbeats are sent."""
        self._since = time.monotonic()

    def beaten(self, most_seconds: float) -> None:
        """One was sent, which takes so long at most until the next: a process that was itself
        stopped for a while was not unanswered so long."""
        now = time.monotonic()
        self.seconds += min(now - self._since, most_seconds)
        self._since = now

    def broken(self) -> None:
        """An answer has come."""
        self.seconds = 0.0
