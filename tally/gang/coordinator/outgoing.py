"""What a worker has still to say, and when its next heartbeat is due."""

import time
from collections import deque
from typing import Any

from tally.errors import RunError
from tally.gang.coordinator import coordinator_pb2 as pb
from tally.gang.coordinator.events import Observation

SOON_SECONDS = 0.05  # lines told within this time go together
RETRY_SECONDS = 0.1
LINES_BYTES = 1 << 20  # in one heartbeat


class Outgoing:
    """Used under the member's lock."""

    def __init__(self) -> None:
        self._report = pb.HeartbeatRequest(phase=pb.JOINING)
        self._observation: pb.Observation | None = None
        self._lines: deque[bytes] = deque()
        self._first_line = 0
        self._forgotten = False
        self._due_seconds = time.monotonic()

    @property
    def training(self) -> bool:
        """Whether this worker is in a generation and does not rest."""
        return bool(self._report.phase == pb.TRAINING)

    @property
    def empty(self) -> bool:
        """Whether all lines have arrived."""
        return not self._lines

    def began(self, member: bytes) -> None:
        """Let in, under a new id; what was said last is said again."""
        self._report.member, self._report.sequence = member, 0
        self.hurry()

    def current(self, request: pb.HeartbeatRequest) -> bool:
        """Whether a request was made under the id of now."""
        return bool(request.member and request.member == self._report.member)

    def say(self, **changes: Any) -> None:
        """The next heartbeats say so, the first at once."""
        for name, value in changes.items():
            setattr(self._report, name, value)
        self.hurry()

    def train(self, generation: int) -> None:
        """This worker is in a generation from now on."""
        self._report.phase, self._report.generation = pb.TRAINING, generation
        self._observation = None

    def observe(self, observation: Observation) -> None:
        """One heartbeat carries it."""
        self._observation = pb.Observation(**vars(observation))

    def tell(self, line: bytes) -> None:
        """A line; at once, but together with those that come right after it."""
        if len(line) > LINES_BYTES:
            raise RunError(
                f"a message to the conductor: expected at most {LINES_BYTES} bytes, got "
                f"{len(line)}; say less"
            )
        if self._forgotten:
            return
        self._lines.append(line)
        self._due_seconds = min(self._due_seconds, time.monotonic() + SOON_SECONDS)

    def forget(self) -> None:
        """Nobody listens to this worker any more."""
        self._lines.clear()
        self._forgotten = True

    def hurry(self) -> None:
        """The next heartbeat is due now."""
        self._due_seconds = time.monotonic()

    def left_seconds(self) -> float:
        """Until the next heartbeat."""
        return self._due_seconds - time.monotonic()

    def request(self, heartbeat_seconds: float) -> pb.HeartbeatRequest:
        """The next heartbeat."""
        self._due_seconds = time.monotonic() + heartbeat_seconds
        self._report.sequence += 1
        request = pb.HeartbeatRequest()
        request.CopyFrom(self._report)
        if self._observation is not None:
            request.observation.CopyFrom(self._observation)
            self._observation = None
        request.first_line = self._first_line
        room = LINES_BYTES
        for line in self._lines:
            room -= len(line) + 8
            if room < 0 and request.lines:
                break
            request.lines.append(line)
        return request

    def arrived(self, request: pb.HeartbeatRequest, reply: pb.HeartbeatReply) -> None:
        """An answer to a heartbeat."""
        while self._lines and self._first_line < reply.lines:
            self._lines.popleft()
            self._first_line += 1
        if self._lines:
            self._due_seconds = min(self._due_seconds, time.monotonic() + SOON_SECONDS)

    def failed(self, request: pb.HeartbeatRequest) -> None:
        """No answer: the same again, soon."""
        if self._observation is None and request.HasField("observation"):
            self._observation = request.observation
        self._due_seconds = min(self._due_seconds, time.monotonic() + RETRY_SECONDS)
