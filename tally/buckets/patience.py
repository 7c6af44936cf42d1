"""Requests that may fail for a while: what can go wrong, trying again, and a bound on all of it."""

import queue
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

REQUEST_SECONDS = (4.0, 8.0)  # to connect, and between bytes
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 4.0
_CHANCE = random.Random()  # its own: Keras takes a model's first weights from Python's global one


class BucketError(Exception):
    """A request to an object store failed: expected, got, remedy, without the place's name.

    It names no key: only codes and fixed words of the service are repeated.
    """

    def __init__(self, expected: str, got: str, remedy: str) -> None:
        super().__init__(f"expected {expected}, got {got}; {remedy}")


class Missing(BucketError):
    """No such bucket or object, or not that version any more."""


class Refused(BucketError):
    """No permission, no credentials, or an address that the service does not take."""


class Changed(BucketError):
    """Somebody else has written the object since."""


class Damaged(BucketError):
    """Bytes are not those that their checksum was made of."""


class Unreachable(BucketError):
    """The service does not answer, or not now: worth another try."""


def patiently(
    request: Callable[[], Result], seconds: float, progress: Callable[[], int] | None = None
) -> Result:
    """Make a request again, later and later, while it fails with Unreachable.

    Args:
        request: one attempt.
        seconds: for how long; the last attempt may begin just before.
        progress: a number that grows as bytes come; where it has grown the time starts anew.

    Raises:
        BucketError: the last attempt's.
    """
    until, wait = time.monotonic() + seconds, _FIRST_WAIT_SECONDS
    reached = progress() if progress else 0
    while True:
        try:
            return request()
        except Unreachable:
            if progress and (now := progress()) > reached:
                until, wait, reached = time.monotonic() + seconds, _FIRST_WAIT_SECONDS, now
            # Not all workers of a gang at once, and never a wait that no attempt would follow.
            pause = wait * _CHANCE.uniform(0.5, 1)
            if time.monotonic() + pause >= until:
                raise
        time.sleep(pause)
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS)


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, if it ends in time; else it is left to itself.

    A client's own time-outs count from byte to byte: a store that trickles holds a request longer
    than a worker has after SIGTERM.

    Raises:
        Unreachable: no outcome within `seconds`.
    """
    outcome: queue.SimpleQueue[tuple[Result | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((work(), None))
        except BaseException as error:
            outcome.put((None, error))

    threading.Thread(target=run, name="store", daemon=True).start()
    try:
        result, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise Unreachable(
            f"an end within {seconds:g} s", "none", "check the network and the store"
        ) from None
    if error:
        raise error
    return result  # type: ignore[return-value]  # of Result where there is no error
