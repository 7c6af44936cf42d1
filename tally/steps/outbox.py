"""What a step in a pod tells the meter: kept until it is there, from a thread of its own.

Nothing waits for it but the very end of the step, and that not for long. What the meter cannot take
now it gets later, no sooner than it asks for, rows of usage only as they are by then. Where the
meter is away for so long that there is no room left, the oldest goes.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tally import clock
from tally.costing.documents import MEASURED, finite
from tally.costing.quotes import GANG, RunEvent
from tally.costing.usage import Usage
from tally.meterclient import SECONDS, MeterClient
from tally.meterhttp import MeterRefused, NoToken
from tally.steps.metering import required_client

PACE_SECONDS = 15.0
_LONGEST_PAUSE_SECONDS = 60.0
_AGAIN_SECONDS = 3.0
_MOST = 10_000  # rows, and events
_ROWS, _EVENTS = 500, 100  # in one body, which has 1 MiB at most
_LONGEST_FACTS = 8000  # of an event, as JSON
_FINAL_PAUSE_SECONDS = 0.2
_AT_ONCE = frozenset({GANG, "resize", "generation"})  # somebody may be waiting to see them
_LATER = (401, 403, 404, 408, 429)  # it may yet learn of the run, the token may yet be good

Job = Callable[[MeterClient], Sequence[Usage]]
"""Work that has to ask the meter first; the rows that it makes are sent."""

_Answer = TypeVar("_Answer")


class Outbox:
    """Rows, events and jobs of one run on their way to the meter."""

    def __init__(self, run_id: str, pace_seconds: float = PACE_SECONDS) -> None:
        """Begins to send; the meter is that of the environment.

        Args:
            run_id: the step's run.
            pace_seconds: between two times of sending, where the meter answers.
        """
        self._run_id, self._pace_seconds = run_id, pace_seconds
        self._lock = threading.Lock()
        self._rows: dict[str, Usage] = {}
        self._events: list[RunEvent] = []
        self._jobs: list[Job] = []
        self._client: MeterClient | None = None
        self._closing, self._hurry = threading.Event(), threading.Event()
        self._deadline = float("inf")
        self.error = ""
        self._hopeless = False  # for the next seconds
        self._not_before = 0.0  # the meter asked for that, monotonic seconds
        self.lost = 0
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)
        self._thread.start()

    def usage(self, rows: Sequence[Usage]) -> None:
        """Rows of workers, each in place of what was said of the same interval before."""
        with self._lock:
            self._rows.update((row.usage_id, row) for row in rows)
            while len(self._rows) > _MOST:
                del self._rows[next(iter(self._rows))]
                self.lost += 1

    def happened(
        self, kind: str, step: str, facts: Mapping[str, Any], at_microseconds: int | None = None
    ) -> None:
        """An event of the run, by default of now; facts that are too long are cut."""
        facts = finite(facts)
        if len(text := json.dumps(facts, default=str)) > _LONGEST_FACTS:
            facts = {"cut": text[:_LONGEST_FACTS]}
        at = clock.now_microseconds() if at_microseconds is None else at_microseconds
        event = RunEvent(run_id=self._run_id, at_microseconds=at, kind=kind, step=step, facts=facts)
        with self._lock:
            self._events.append(event)
            if len(self._events) > _MOST:
                del self._events[0]
                self.lost += 1
        if kind in _AT_ONCE:
            self._hurry.set()

    def measured(self, step: str, facts: Mapping[str, Any]) -> None:
        """Facts that belong into the run's record."""
        self.happened(MEASURED, step, facts)

    def after_sending(self, job: Job) -> None:
        """Do this once all that was said so far is with the meter."""
        with self._lock:
            self._jobs.append(job)

    def close(self, seconds: float) -> str:
        """Send what is left, for so long at most.

        Returns:
            What is missing at the meter and why, in a sentence; "" where nothing is.
        """
        self._deadline = time.monotonic() + seconds
        self._closing.set()
        self._hurry.set()
        self._thread.join(seconds + 0.5)
        with self._lock:
            left = len(self._rows) + len(self._events) + len(self._jobs) + self.lost
        if not left:
            return ""
        silent = "no answer in time" if self._thread.is_alive() else "it does not know their pods"
        why = self.error or silent
        return f"the meter: expected it to take all, got {left} rows and events left over: {why}"

    def _run(self) -> None:
        pause = self._pace_seconds
        while True:
            hurried = self._hurried(pause)
            if self._closing.wait(max(0.0, self._not_before - time.monotonic())):
                break
            longer = min(2 * pause, max(_LONGEST_PAUSE_SECONDS, self._pace_seconds))
            if self._send():
                pause = self._pace_seconds
            elif hurried:  # the meter may not have seen its pod yet
                pause = min(_AGAIN_SECONDS, self._pace_seconds)
            else:
                pause = longer
        while True:
            time.sleep(max(0.0, min(self._not_before, self._deadline) - time.monotonic()))
            if self._send() or self._hopeless or time.monotonic() >= self._deadline:
                return
            time.sleep(_FINAL_PAUSE_SECONDS)

    def _hurried(self, pause: float) -> bool:
        """Wait until it is time to send again; whether that is before the pause is over."""
        hurried = self._hurry.wait(max(pause, self._not_before - time.monotonic()))
        self._hurry.clear()
        return hurried

    def _send(self) -> bool:
        """Send all there is; whether the meter took it."""
        try:
            if not (self._rows or self._events or self._jobs):
                return True
            client = self._client = self._client or required_client()
            self._send_rows(client)
            self._send_events(client)
            while self._jobs:
                self.usage(self._jobs[0](client))
                del self._jobs[0]
                self._send_rows(client)
        except Exception as error:  # it is kept for later; told where this is the last
            self.error, self._hopeless = str(error), isinstance(error, NoToken)
            if isinstance(error, MeterRefused):
                self._not_before = time.monotonic() + error.retry_seconds
            return False
        return not (self._closing.is_set() and self._rows)

    def _send_rows(self, client: MeterClient) -> None:
        """Rows of pods that the meter does not know yet stay."""
        with self._lock:
            there = list(self._rows.values())
        for start in range(0, len(there), _ROWS):
            batch = there[start : start + _ROWS]
            unknown: frozenset[str] = frozenset()
            try:
                unknown = self._posted(client.post_usage, batch)
            except MeterRefused as refused:
                self._lose(refused, batch)
            with self._lock:
                for row in batch:
                    same = self._rows.get(row.usage_id) is row
                    if same and row.pod_uid not in unknown:
                        del self._rows[row.usage_id]

    def _send_events(self, client: MeterClient) -> None:
        """Where the meter refuses some, each kind alone: one has no room, the others may."""
        apart = False
        while batch := self._events[:_EVENTS]:
            alike = [event for event in batch if event.kind == batch[0].kind]
            batch = alike if apart else batch
            try:
                self._posted(client.post_events, batch)
            except MeterRefused as refused:
                if not apart and len(alike) < len(batch) and refused.status not in _LATER:
                    apart = True
                    continue
                self._lose(refused, batch)
            with self._lock:
                sent = {id(event) for event in batch}
                self._events = [event for event in self._events if id(event) not in sent]

    def _posted(self, post: Callable[..., _Answer], batch: Sequence[object]) -> _Answer:
        left = max(0.1, min(SECONDS, self._deadline - time.monotonic()))
        return post(self._run_id, batch, seconds=left)

    def _lose(self, refused: MeterRefused, batch: Sequence[object]) -> None:
        """The meter will never take it, unless it says that it may: then it is raised."""
        if refused.status in _LATER:
            raise refused
        self.error, self.lost = str(refused), self.lost + len(batch)
