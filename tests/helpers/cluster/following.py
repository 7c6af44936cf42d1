"""What a gang tells, and waiting for it."""

import threading
from collections.abc import Callable
from typing import Any

from tally.gang.gang import WorkerChange


class Told:
    """Collects changes; `until` waits for one."""

    def __init__(self) -> None:
        self.changes: list[WorkerChange] = []
        self._came = threading.Condition()

    def __call__(self, change: WorkerChange) -> None:
        with self._came:
            self.changes.append(change)
            self._came.notify_all()

    def until(self, is_it: Callable[[WorkerChange], Any], seconds: float) -> WorkerChange:
        """The first change that is it, of those told or to come."""
        with self._came:
            found: list[WorkerChange] = []

            def look() -> bool:
                found[:] = [change for change in self.changes if is_it(change)]
                return bool(found)

            came = self._came.wait_for(look, seconds)
            assert came, f"not told within {seconds} s; told: {self.changes}"
            return found[0]

    def until_started(self, *workers: str, seconds: float = 30) -> dict[str, str]:
        """The uids of these workers, by name, once all of them run."""
        return {
            worker: self.until(
                lambda c, w=worker: c.worker == w and c.state == "started", seconds
            ).uid
            for worker in workers
        }
