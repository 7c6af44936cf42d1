"""Who asks: the service account of a bearer token, as the API server's TokenReview has it.

A pod asks with a projected token of the audience `tally-meter`. The API server says whose it is;
the namespace is what counts. What it said holds for a minute at most, so that a token that was
revoked is good for no longer than that.
"""

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tally.errors import TallyError
from tally.kube.template import Object
from tally.meter.answers import Refusal

AUDIENCE = "tally-meter"
KEPT_SECONDS = 15.0
REFUSED_KEPT_SECONDS = 5.0
_KEPT = 4096  # tokens of each kind
_AT_ONCE = 16  # reviews; strangers' tokens cost the API server no more than that
_LONGEST = 8192
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_ACCOUNT = re.compile(r"system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})", re.ASCII)

Review = Callable[[Object], Awaitable[Object]]
"""Sends a TokenReview to the API server and gives back its answer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A service account.

    Attributes:
        namespace: its own.
        account: its name there.
    """

    namespace: str
    account: str


@dataclass(frozen=True, slots=True)
class _Known:
    said: Caller | tuple[int, str]
    until_seconds: float


class Identity:
    """Callers by their tokens; of a token only its SHA-256 is kept."""

    def __init__(self, review: Review, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Asks for nothing yet.

        Args:
            review: may raise TallyError where the API server does not answer.
            monotonic: seconds.
        """
        self._review, self._monotonic = review, monotonic
        self._good: OrderedDict[bytes, _Known] = OrderedDict()
        self._bad: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Known]] = {}

    async def caller(self, authorization: Sequence[str]) -> Caller:
        """Whose token a request carries.

        Args:
            authorization: the values of its Authorization headers.

        Raises:
            Refusal: 401 without a good token, 403 where it is no service account's, 503 while
                nobody can tell.
        """
        token = _token(authorization)
        digest = hashlib.sha256(token.encode()).digest()
        now = self._monotonic()
        known = self._good.get(digest) or self._bad.get(digest)
        if known is None or known.until_seconds <= now:
            known = await self._ask(digest, token)
        if isinstance(known.said, Caller):
            return known.said
        raise Refusal(*known.said)

    async def _ask(self, digest: bytes, token: str) -> _Known:
        """Ask once, however many wait for the answer."""
        task = self._asking.get(digest)
        if task is None:
            if len(self._asking) >= _AT_ONCE:
                raise Refusal(503, "the token: expected to look at it, got too many at once")
            task = asyncio.create_task(self._reviewed(digest, token))
            self._asking[digest] = task
            task.add_done_callback(lambda done: self._answered(digest, done))
        return await asyncio.shield(task)

    def _answered(self, digest: bytes, done: "asyncio.Task[_Known]") -> None:
        self._asking.pop(digest, None)
        if not done.cancelled():
            done.exception()  # looked at, even where whoever asked has gone

    async def _reviewed(self, digest: bytes, token: str) -> _Known:
        began = self._monotonic()
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        try:
            said = verdict(await self._review(body))
        except TallyError as error:
            raise Refusal(
                503, "the token: expected the API server to say whose it is, got no answer"
            ) from error
        good = isinstance(said, Caller)
        known = _Known(said, began + (KEPT_SECONDS if good else REFUSED_KEPT_SECONDS))
        for kept in (self._good, self._bad):
            kept.pop(digest, None)
        kept = self._good if good else self._bad
        kept[digest] = known
        if len(kept) > _KEPT:
            kept.popitem(last=False)
        return known


def verdict(review: Any) -> Caller | tuple[int, str]:
    """What a TokenReview's answer says: the caller, or an HTTP status and why. Pure."""
    status = (review if isinstance(review, dict) else {}).get("status") or {}
    # an API server that knows no audiences says nothing of them: its own tokens are not ours
    if status.get("authenticated") is not True or AUDIENCE not in (status.get("audiences") or []):
        return 401, (
            f"the token: expected a valid one of audience {AUDIENCE}, got another; project one "
            "into the pod and set TALLY_METER_TOKEN_FILE"
        )
    name = str((status.get("user") or {}).get("username") or "")
    found = _ACCOUNT.fullmatch(name)
    if found is None:
        return 403, "the token: expected a service account's, got another user's"
    return Caller(*found.groups())


def _token(authorization: Sequence[str]) -> str:
    scheme, _, token = (authorization[0] if len(authorization) == 1 else "").partition(" ")
    token = token.strip()
    if scheme.lower() == "bearer" and len(token) <= _LONGEST and _TOKEN.fullmatch(token):
        return token
    got = "none" if not authorization else "something else"
    raise Refusal(401, f"Authorization: expected Bearer and a service account's token, got {got}")
