"""What the tests of the coordinator share: one in this process, and workers as threads."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from helpers.gang.coordinator_process import TOKEN
from tally.gang.coordinator.client import Member
from tally.gang.coordinator.events import End, Event
from tally.gang.coordinator.server import Coordinator

DEADLINE_SECONDS = 60.0


class Heard:
    """The conductor's ear."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait(self, kind: type, count: int = 1, seconds: float = DEADLINE_SECONDS) -> Any:
        """The count-th event of a kind."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.of(kind)) >= count, seconds)
            assert came, f"no {kind.__name__} number {count} in {self.events}"
            return self.of(kind)[count - 1]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Trainee:
    """A worker that trains nothing, in a thread: it rests when it is told to."""

    def __init__(self, coordinator: Coordinator | str, name: str, **options: Any) -> None:
        address = coordinator if isinstance(coordinator, str) else coordinator.address
        self.member = Member(address, TOKEN, name, f"uid-{name}", **options)
        self.orders: queue.Queue[Any] = queue.Queue()
        self.config = self.member.join()
        self.step = 0
        self._wake = threading.Event()
        self.member.on_urgent(lambda generation: self._wake.set())
        self.member.ready(f"127.0.0.1:{name}")
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def _live(self) -> None:
        generation = 0
        while True:
            try:
                order = self.member.next(generation)
            except Exception as error:
                self.orders.put(error)
                return
            self.orders.put(order)
            if order is None or isinstance(order, End) or order.order == "stop":
                return
            generation = order.membership.generation
            while not self.member.paused(generation):
                self.step += 1
                self._wake.wait(0.0005)
            self._wake.clear()
            self.member.rest(generation, self.step, True)

    def order(self, seconds: float = DEADLINE_SECONDS) -> Any:
        return self.orders.get(timeout=seconds)

    def close(self) -> None:
        self.member.close()


def until(true: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    """Poll where there is no event to wait for."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)
    return found
