"""Which namespaces' runs a caller may see: those whose Workflows it may get, the API server says.
Those whose Workflows it may update it may change.

It is asked by SubjectAccessReview, as Kubeflow itself asks. What it said holds for 15 s at most. A
caller's own namespace needs no review.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from tally.meter.apiserver import Unanswered
from tally.meter.asking import Asking
from tally.meter.health import Health
from tally.meter.identity import Caller, Review
from tally.meter.refusal import Refusal

_WAITING = 1024  # a list of runs asks of each namespace
_WITHOUT_RIGHT = (
    "expected to ask who may see which namespace, may not create "
    "subjectaccessreviews.authorization.k8s.io: all see their own only; "
    "apply the ClusterRole of manifests/base/meter/account.yaml"
)
_log = logging.getLogger("tally.meter.permission")


class Permission:
    """What callers may see."""

    def __init__(
        self, review: Review, health: Health, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Asks for nothing yet.

        Args:
            review: sends a SubjectAccessReview; may raise TallyError where nobody answers.
            health: is told where the meter may not ask.
            monotonic: seconds.
        """
        self._review, self._health, self._may_ask = review, health, True
        self._asking: Asking[bool] = Asking(
            "the namespace: expected the API server to say whether you may get its workflows",
            bool,
            monotonic,
            _WAITING,
        )

    async def require(self, caller: Caller, namespace: str) -> None:
        """Go on where the caller may see the runs of this namespace.

        Raises:
            Refusal: 403 where not, 503 while nobody can tell.
        """
        if namespace != caller.namespace and not await self._may(caller, "get", namespace):
            raise _another_ones()

    async def require_change(self, caller: Caller, namespace: str) -> None:
        """Go on where the caller may change the runs of this namespace, be it its own.

        Raises:
            Refusal: 403 where not, 503 while nobody can tell.
        """
        if not await self._may(caller, "update", namespace):
            raise Refusal(
                403,
                f"run: expected an account that may update workflows.argoproj.io in {namespace}, "
                f"got {caller.namespace}/{caller.account}, which may not; "
                "ask its owner for a RoleBinding",
            )

    async def readable(self, caller: Caller, namespaces: Iterable[str]) -> set[str]:
        """Those of the namespaces whose runs the caller may see, one at least.

        Raises:
            Refusal: 403 where it is none, 503 while nobody can tell.
        """
        names = sorted(namespaces)
        said = await asyncio.gather(*(self._may(caller, "get", name) for name in names))
        if not any(said):
            raise _another_ones()
        return {name for name, may in zip(names, said, strict=True) if may}

    async def seen(self, caller: Caller, namespaces: Iterable[str]) -> frozenset[str]:
        """Those of the namespaces whose runs the caller may list.

        Raises:
            Refusal: 503 while nobody can tell.
        """
        others = sorted(set(namespaces) - {caller.namespace})
        if others and await self._may(caller, "list", ""):  # in all of them
            return frozenset({caller.namespace, *others})
        said = await asyncio.gather(*(self._may(caller, "list", name) for name in others))
        may = (name for name, allowed in zip(others, said, strict=True) if allowed)
        return frozenset({caller.namespace, *may})

    async def _may(self, caller: Caller, verb: str, namespace: str) -> bool:
        asked = {
            "group": "argoproj.io",
            "resource": "workflows",
            "verb": verb,
            "namespace": namespace,
        }
        spec = {**caller.subject, "resourceAttributes": asked}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": spec,
        }

        async def ask() -> bool:
            try:
                said = allows(await self._review(body))
            except Unanswered as error:
                if error.status != 403:
                    raise
                self._say(may_ask=False)
                return False
            self._say(may_ask=True)
            return said

        key = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).digest()
        return await self._asking.answer(key, ask)

    def _say(self, *, may_ask: bool) -> None:
        if self._may_ask and not may_ask:
            _log.warning("reviews: %s", _WITHOUT_RIGHT)
        self._may_ask = may_ask
        self._health.notice("reviews", {} if may_ask else {"reviews": _WITHOUT_RIGHT})


def _another_ones() -> Refusal:
    return Refusal(
        403,
        "run: expected one of your namespace or of one whose workflows.argoproj.io you may "
        "get, got another's; ask its owner for a RoleBinding",
    )


def allows(review: Any) -> bool:
    """What a SubjectAccessReview's answer says; anything but a clear yes is no. Pure."""
    status = (review if isinstance(review, dict) else {}).get("status") or {}
    return status.get("allowed") is True and status.get("denied") is not True
