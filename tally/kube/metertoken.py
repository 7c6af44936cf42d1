"""The token with which a step's pod, or a person, tells the meter whose it is: the API server's.

Kubeflow cannot mount a token of the meter's audience into a step's pod (kfp-kubernetes knows no
projected volumes), but it mounts the account's own, which names account and pod. With that the pod
asks for one of its own account that is good for the meter only and dies with the pod. A person asks
with a kubeconfig, for an account that they may do so for.
"""

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tally.errors import SpecError
from tally.kube.cluster import Cluster, Refused
from tally.kube.template import Object
from tally.meterhttp import AUDIENCE, NoToken

_MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_LIFE_SECONDS = 3600
_RENEWED_AFTER = 0.8  # of its life, as kubelets do
_SECONDS = 5.0
_FORBIDDEN, _NOT_FOUND = 403, 404
_FINAL = range(400, 429)


@dataclass(frozen=True)
class Account:
    """Who this pod is, by the token that is mounted into it.

    Attributes:
        namespace, name: of the service account.
        pod: an ObjectReference to this pod; None where the token is bound to none.
    """

    namespace: str
    name: str
    pod: Object | None


@dataclass(frozen=True)
class MadeToken:
    """A token, and until when it is good.

    Attributes:
        token: a secret.
        ends: UTC.
    """

    token: str = field(repr=False)
    ends: datetime


class RequestedToken:
    """A TokenSource: tokens of this pod's own account, kept in memory; safe beside threads."""

    def __init__(
        self,
        mounted: Path = _MOUNTED,
        connect: Callable[[], Cluster] = Cluster,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Asks for nothing yet.

        Args:
            mounted: the file with the account's own token.
            connect: to the API server.
            monotonic: seconds.
        """
        self._mounted, self._connect, self._monotonic = mounted, connect, monotonic
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at_seconds = self._ends_at_seconds = float("-inf")

    def __call__(self, *, afresh: bool = False) -> str:
        """The token."""
        with self._lock:
            now = self._monotonic()
            if afresh or now >= self._renew_at_seconds:
                account = own_account(self._mounted)
                try:
                    self._renew(account, now)
                except Refused as refused:
                    if afresh or now >= self._ends_at_seconds:
                        raise _why(refused, account) from refused
            return self._token

    def _renew(self, account: Account, now: float) -> None:
        said = self._connect().request("POST", *asked_for(account), seconds=_SECONDS)
        life = float(said["spec"]["expirationSeconds"])  # the server may give more or less
        self._token = str(said["status"]["token"])
        self._renew_at_seconds, self._ends_at_seconds = now + _RENEWED_AFTER * life, now + life


def made_for(cluster: Cluster, account: Account, life_seconds: int) -> MadeToken:
    """A token for the meter of any account.

    Args:
        cluster: whoever asks there needs the verb `create` on serviceaccounts/token.
        account: whose.
        life_seconds: 600 or more; the server may give less.

    Raises:
        SpecError: who asks may not, or there is no such account. Refused: another answer, or none.
    """
    who = f"{account.namespace}/{account.name}"
    try:
        said = cluster.request("POST", *asked_for(account, life_seconds))
    except Refused as refused:
        if refused.status == _FORBIDDEN:
            raise SpecError(
                f"token: expected the right to create serviceaccounts/token of {who}, got "
                f"Forbidden; ask an administrator for the verb create on serviceaccounts/token in "
                f"{account.namespace} with resourceNames [{account.name}], or name another ACCOUNT"
            ) from refused
        if refused.status == _NOT_FOUND:
            raise SpecError(
                f"token: expected the service account {who}, got none of that name; correct "
                "ACCOUNT and NAMESPACE"
            ) from refused
        raise
    ends = datetime.fromisoformat(str(said["status"]["expirationTimestamp"]))
    return MadeToken(str(said["status"]["token"]), ends)


def asked_for(account: Account, life_seconds: int = _LIFE_SECONDS) -> tuple[str, Object]:
    """Path and body of the request for a token for the meter. Pure."""
    spec: Object = {"audiences": [AUDIENCE], "expirationSeconds": life_seconds}
    if account.pod:
        spec["boundObjectRef"] = account.pod
    path = f"api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}/token"
    return path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def own_account(mounted: Path = _MOUNTED) -> Account:
    """Who this pod is; nobody checks the token's signature, since it is this pod's own.

    Raises:
        NoToken: no service account's token is mounted.
    """
    try:
        claims = _claims(mounted.read_text(encoding="ascii"))
        _, _, namespace, name = str(claims["sub"]).split(":")
        pod = claims.get("kubernetes.io", {}).get("pod")
        named = pod and {"apiVersion": "v1", "kind": "Pod", "name": pod["name"], "uid": pod["uid"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoToken(
            f"the meter: expected this pod's service account token in {mounted}, got "
            f"{type(error).__name__}; let it be mounted (automountServiceAccountToken)"
        ) from error
    return Account(namespace, name, named)


def _claims(token: str) -> Mapping[str, Any]:
    _, payload, _ = token.strip().split(".")
    claims: Mapping[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims


def _why(refused: Refused, account: Account) -> Exception:
    if refused.status == _FORBIDDEN:
        return NoToken(
            f"the meter: expected a token for the account {account.namespace}/{account.name}, got "
            "Forbidden; give the account the Role of manifests/gang-rbac.yaml, whose rule of "
            "serviceaccounts/token has to name it"
        )
    return NoToken(str(refused)) if refused.status in _FINAL else refused
