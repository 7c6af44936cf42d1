"""Who asks: the service account of a bearer token, as the API server's TokenReview has it.

A pod asks with a projected token of the audience `tally-meter`. The API server says whose it is;
the namespace is what counts. What it said holds for 15 s at most, so that a token that was revoked
is good for no longer than that.
"""

import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tally.kube.template import Object
from tally.meter.asking import Asking
from tally.meter.refusal import Refusal
from tally.meterhttp import AUDIENCE

_LONGEST = 8192
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_ACCOUNT = re.compile(r"system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})", re.ASCII)

Review = Callable[[Object], Awaitable[Object]]
"""Sends a review to the API server and gives back its answer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A service account.

    Attributes:
        namespace: its own.
        account: its name there.
        subject: user, groups, uid and extra, as a SubjectAccessReview names them.
    """

    namespace: str
    account: str
    subject: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


class Identity:
    """Callers by their tokens; of a token only its SHA-256 is kept."""

    def __init__(self, review: Review, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Asks for nothing yet.

        Args:
            review: sends a TokenReview; may raise TallyError where nobody answers.
            monotonic: seconds.
        """
        self._review = review
        self._asking: Asking[Caller | tuple[int, str]] = Asking(
            "the token: expected the API server to say whose it is",
            lambda said: isinstance(said, Caller),
            monotonic,
        )

    async def caller(self, authorization: Sequence[str]) -> Caller:
        """Whose token a request carries.

        Args:
            authorization: the values of its Authorization headers.

        Raises:
            Refusal: 401 without a good token, 403 where it is no service account's, 503 while
                nobody can tell.
        """
        token = _token(authorization)
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }

        async def ask() -> Caller | tuple[int, str]:
            return verdict(await self._review(body))

        said = await self._asking.answer(hashlib.sha256(token.encode()).digest(), ask)
        if isinstance(said, Caller):
            return said
        raise Refusal(*said)


def verdict(review: Any) -> Caller | tuple[int, str]:
    """What a TokenReview's answer says: the caller, or an HTTP status and why. Pure."""
    status = (review if isinstance(review, dict) else {}).get("status") or {}
    # an API server that knows no audiences says nothing of them: its own tokens are not ours
    if status.get("authenticated") is not True or AUDIENCE not in (status.get("audiences") or []):
        return 401, (
            f"the token: expected a valid one of audience {AUDIENCE}, got another; `make token` "
            "makes one, in a pod project one, and set TALLY_METER_TOKEN_FILE"
        )
    user = status.get("user") or {}
    name = str(user.get("username") or "")
    found = _ACCOUNT.fullmatch(name)
    if found is None:
        return 403, "the token: expected a service account's, got another user's"
    names = {"username": "user", "groups": "groups", "uid": "uid", "extra": "extra"}
    subject = {there: user[here] for here, there in names.items() if user.get(here)}
    return Caller(found[1], found[2], subject)


def _token(authorization: Sequence[str]) -> str:
    scheme, _, token = (authorization[0] if len(authorization) == 1 else "").partition(" ")
    token = token.strip()
    if scheme.lower() == "bearer" and len(token) <= _LONGEST and _TOKEN.fullmatch(token):
        return token
    got = "none" if not authorization else "something else"
    raise Refusal(401, f"Authorization: expected Bearer and a service account's token, got {got}")
