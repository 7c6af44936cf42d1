"""What SIGINT, SIGTERM and SIGHUP do while a run is created, and while it is watched."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_WANTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def held() -> Iterator[list[int]]:
    """Collect them, instead of dying of them: whoever is interrupted still has to end a run."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda got, frame: received.append(got))
        for number in _WANTED
    }  # fmt: skip
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Each raises KeyboardInterrupt, out of a request that waits too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _WANTED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
