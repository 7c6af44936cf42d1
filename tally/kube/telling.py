"""What is told of a gang's pods: each change once, and what keeps a pod waiting within 15 s."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tally import clock
from tally.gang.gang import WorkerChange
from tally.kube import reasons
from tally.kube.template import Object

WAITING_SECONDS = 10.0  # a pod that waits longer is told of with the reason
_LOOK_SECONDS = 1.0


@dataclass
class _Pod:
    """What is known of one pod."""

    change: WorkerChange
    since_seconds: float
    told: tuple[object, ...] = ()
    asked_seconds: float = 0.0


class Teller:
    """Turns pods as they are seen into changes as they are told, in a thread of its own."""

    def __init__(
        self,
        events_of: Callable[[str], Sequence[Object]],
        failure: Callable[[Object], str],
        missing: Callable[[frozenset[str]], Sequence[WorkerChange]],
    ) -> None:
        """Nothing is told yet.

        Args:
            events_of: the events of the pod with this uid.
            failure: why the Job of this pod has failed; "" where it has not.
            missing: workers that should be there, given the names of those that are.
        """
        self._events_of, self._failure, self._missing = events_of, failure, missing
        self._seen: queue.SimpleQueue[tuple[Object, bool, int]] = queue.SimpleQueue()
        self._pods: dict[str, _Pod] = {}
        self._whole = threading.Condition()
        self._absent_seconds = time.monotonic()
        self._absent_told: set[str] = set()

    def see(self, pod: Object, gone: bool) -> None:
        """A pod as it looks now."""
        self._seen.put((pod, gone, clock.now_microseconds()))

    def tell(self, told: Callable[[WorkerChange], None], stopped: threading.Event) -> None:
        """Tell every change until `stopped`."""
        while not stopped.is_set():
            try:
                pod, gone, at = self._seen.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                self._look_at_waiting(told)
                continue
            self._take(pod, gone, at, told)
            self._look_at_waiting(told)

    def all_ended(self, seconds: float) -> bool:
        """Wait until no pod is known that has not ended; whether that came in time."""
        with self._whole:
            return self._whole.wait_for(lambda: not self.alive(), seconds)

    def alive(self) -> dict[str, str]:
        """The uids of pods that have not ended, with their workers' names."""
        pods = list(self._pods.items())
        return {uid: p.change.worker for uid, p in pods if p.change.state != "ended"}

    def _take(self, pod: Object, gone: bool, at: int, told: Callable[[WorkerChange], None]) -> None:
        change = reasons.change(pod, at, gone=gone)
        known = self._pods.setdefault(change.uid, _Pod(change, time.monotonic()))
        if known.change.state == "ended" and known.told:
            if gone:
                del self._pods[change.uid]
            return
        deleted = change.state == "ended" and pod["metadata"].get("deletionTimestamp")
        if deleted and (failure := self._failure(pod)):
            change = replace(change, reason=failure, fatal=True)
        known.change = change
        if change.state != "pending" or reasons.is_certain(change):
            self._say(known, told)
        elif not known.told:
            self._say(known, told, replace(change, cause="", reason="", fatal=False))
        with self._whole:
            self._whole.notify_all()
        if gone:
            self._pods.pop(change.uid, None)

    def _look_at_waiting(self, told: Callable[[WorkerChange], None]) -> None:
        """Tell why those wait that have waited for long."""
        now = time.monotonic()
        for uid, known in list(self._pods.items()):
            if known.change.state != "pending" or now - known.since_seconds < WAITING_SECONDS:
                continue
            if not known.change.reason and now - known.asked_seconds > WAITING_SECONDS:
                known.asked_seconds = now
                known.change = reasons.from_events(known.change, self._events_of(uid))
            if known.change.reason:
                self._say(known, told)
        self._look_at_absent(now, told)

    def _look_at_absent(self, now: float, told: Callable[[WorkerChange], None]) -> None:
        """Tell of workers for which there is not even a pod: a quota, a policy."""
        if now - self._absent_seconds < WAITING_SECONDS:
            return
        self._absent_seconds = now
        names = frozenset(self.alive().values())
        for change in self._missing(names):
            if (key := f"{change.worker} {change.reason}") not in self._absent_told:
                self._absent_told.add(key)
                told(change)

    def _say(
        self,
        known: _Pod,
        told: Callable[[WorkerChange], None],
        change: WorkerChange | None = None,
    ) -> None:
        change = change or known.change
        # the words for the same cause go back and forth: ErrImagePull, ImagePullBackOff, …
        key = (change.state, change.cause, bool(change.reason))
        if key != known.told:
            known.told = key
            told(change)
