"""What another thread rings to end a wait: a flag, and a descriptor that poll sees."""

import os
import threading

from tally.gang.collective import Interrupted


class Alarm:
    """Rung from any thread; everything else belongs to the thread that waits."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._rung = False
        self._closed = False
        # ring comes from another thread: never to a number that is closed and someone else's
        self._lock = threading.Lock()

    @property
    def number(self) -> int:
        """The descriptor, readable once the alarm is rung."""
        return self._event

    def ring(self) -> None:
        """End the wait that runs, or the next one."""
        with self._lock:
            if not self._closed and not self._rung:
                self._rung = True
                os.eventfd_write(self._event, 1)

    def clear(self) -> None:
        """Forget that it was rung."""
        with self._lock:
            if not self._closed and self._rung:
                self._rung = False
                os.eventfd_read(self._event)

    def check(self) -> None:
        """Raise Interrupted if it was rung."""
        if self._rung:
            raise Interrupted("the call was interrupted: a newer generation is coming; join it")

    def close(self) -> None:
        """Let go of the descriptor. Can be repeated."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._event)
