"""Calls that block, the ledger's, on threads of their own: so many at once, and not for ever."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from tally.meter.refusal import Refusal

THREADS = 4
WAITING = 32  # besides those that run
SECONDS = 20.0

_Answer = TypeVar("_Answer")


class Blocking:
    """Threads for what blocks, apart from those that the meter itself measures with."""

    def __init__(
        self, threads: int = THREADS, waiting: int = WAITING, seconds: float = SECONDS
    ) -> None:
        """No thread runs yet.

        Args:
            threads: calls at once.
            waiting: calls that may wait for a thread.
            seconds: for one call, its waiting included; it is left to itself after that.
        """
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="api")
        self._most, self._seconds = threads + waiting, seconds
        self._busy = 0
        self._lock = threading.Lock()

    async def call(self, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """What function(*arguments) returns.

        Raises:
            Refusal: 503, too many wait, or it took too long. What it was doing goes on: whoever
                asks again must get the same.
        """
        with self._lock:
            if self._busy >= self._most:
                raise Refusal(503, "the meter: expected to answer, got too much to do; ask later")
            self._busy += 1
        future = self._threads.submit(function, *arguments)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._seconds)
        except TimeoutError as error:
            raise Refusal(
                503,
                f"the meter: expected its ledger to answer in {self._seconds:.0f} s, got nothing; "
                "ask later",
            ) from error

    def close(self) -> None:
        """Take no more; those that run end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _done(self, _: "Future[Any]") -> None:
        with self._lock:
            self._busy -= 1
