"""Answers of the API server that hold for some seconds, asked for once however many wait."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tally.errors import TallyError
from tally.meter.refusal import Refusal

KEPT_SECONDS = 15.0
REFUSED_KEPT_SECONDS = 5.0
AT_ONCE = 16
_KEPT = 4096  # answers of each kind

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Known(Generic[_Answer]):
    said: _Answer
    until_seconds: float


class Asking(Generic[_Answer]):
    """Answers by key. Good and bad ones are kept apart: strangers push no good one out."""

    def __init__(
        self,
        what: str,
        is_good: Callable[[_Answer], bool],
        monotonic: Callable[[], float],
        waiting: int = 0,
    ) -> None:
        """Asks for nothing yet.

        Args:
            what: that is asked, for those who are refused: "the token: expected …".
            is_good: which answers are kept the longer time.
            monotonic: seconds.
            waiting: questions that may wait besides those that are asked at once.
        """
        self._what, self._is_good, self._monotonic = what, is_good, monotonic
        self._good: OrderedDict[bytes, _Known[_Answer]] = OrderedDict()
        self._bad: OrderedDict[bytes, _Known[_Answer]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Known[_Answer]]] = {}
        self._most, self._gate = AT_ONCE + waiting, asyncio.Semaphore(AT_ONCE)

    async def answer(self, key: bytes, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """What is known, or what `ask` says now.

        Args:
            key: of the question; a digest where it holds a secret.
            ask: may raise TallyError where the API server does not answer.

        Raises:
            Refusal: 503 while nobody can tell.
        """
        known = self._good.get(key) or self._bad.get(key)
        if known is None or known.until_seconds <= self._monotonic():
            known = await self._ask(key, ask)
        return known.said

    async def _ask(self, key: bytes, ask: Callable[[], Awaitable[_Answer]]) -> _Known[_Answer]:
        """Ask once, however many wait for the answer."""
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= self._most:
                raise Refusal(503, f"{self._what}, got too many at once")
            task = asyncio.create_task(self._asked(key, ask))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(task)

    def _answered(self, key: bytes, done: "asyncio.Task[_Known[_Answer]]") -> None:
        self._asking.pop(key, None)
        if not done.cancelled():
            done.exception()  # looked at, even where whoever asked has gone

    async def _asked(self, key: bytes, ask: Callable[[], Awaitable[_Answer]]) -> _Known[_Answer]:
        async with self._gate:
            began = self._monotonic()
            try:
                said = await ask()
            except TallyError as error:
                raise Refusal(503, f"{self._what}, got no answer") from error
        good = self._is_good(said)
        known = _Known(said, began + (KEPT_SECONDS if good else REFUSED_KEPT_SECONDS))
        for kept in (self._good, self._bad):
            kept.pop(key, None)
        kept = self._good if good else self._bad
        kept[key] = known
        if len(kept) > _KEPT:
            kept.popitem(last=False)
        return known
