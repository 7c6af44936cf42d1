"""A person's token for the meter: of which account, in which file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tally import storage
from tally.errors import SpecError
from tally.kube.cluster import Cluster, Refused, current_context
from tally.kube.metertoken import Account, MadeToken, made_for
from tally.runs import connected
from tally.runs.doctor_kubernetes import account_of, namespace_of

PEOPLE = "tally-person"
"""The account of manifests/components/kubeflow for people's tokens."""

_SECONDS = 4.0
_NOT_SEEN = (403, 404)


@dataclass(frozen=True)
class Asked:
    """Whose token is wanted, and for how long; what is "" is looked for.

    Attributes:
        namespace: else KFP_NAMESPACE, the kubeconfig's, Kubeflow's own for one user.
        account: else KFP_SERVICE_ACCOUNT, else the one for people, which may resize runs, else that
            of the runs there, which reads their bills.
        life_seconds: 600 or more; the server may give less.
    """

    life_seconds: int
    namespace: str = ""
    account: str = ""


def default_file() -> Path:
    """Where it is kept."""
    return storage.home() / "meter-token"


def made(
    cluster: Cluster, asked: Asked, environment: Mapping[str, str] = os.environ
) -> tuple[Account, MadeToken]:
    """Whose it is, and the token.

    Raises:
        SpecError: there is no such account, or whoever asks may not.
        Refused: the API server does not answer.
    """
    given = {
        "KFP_NAMESPACE": asked.namespace
        or environment.get("KFP_NAMESPACE", "").strip()
        or current_context().namespace,
        "KFP_SERVICE_ACCOUNT": asked.account or environment.get("KFP_SERVICE_ACCOUNT", ""),
    }
    namespace = namespace_of(given)
    is_named = bool(given["KFP_SERVICE_ACCOUNT"].strip())
    for_people = not is_named and _is_there(cluster, namespace, PEOPLE)
    name = PEOPLE if for_people else account_of(cluster, given)
    if not name:
        wanted = asked.account or "of runs"
        raise SpecError(
            f"token: expected the service account {wanted} in the namespace {namespace}, got none; "
            "pass NAMESPACE and ACCOUNT, or make deploy OVERLAY=…"
        )
    account = Account(namespace, name, None)
    return account, made_for(cluster, account, asked.life_seconds)


def _is_there(cluster: Cluster, namespace: str, account: str) -> bool:
    path = f"api/v1/namespaces/{namespace}/serviceaccounts/{account}"
    try:
        cluster.request("GET", path, seconds=_SECONDS)
    except Refused as error:
        if error.status in _NOT_SEEN:
            return False
        raise
    return True


def require_same_cluster(file: Path) -> None:
    """Go on where a token of the kubeconfig's cluster may go into this file.

    Raises:
        SpecError: it is the file of the meter of another one, which would be sent it.
    """
    kept, now = connected.kept(), current_context().name
    if kept is None or kept.settings.get("TALLY_METER_TOKEN_FILE") != str(file):
        return
    if kept.context and now and kept.context != now:
        raise SpecError(
            f"token: expected the context {kept.context}, whose meter is sent what is in {file}, "
            f"got {now}; kubectl config use-context {kept.context}, or make connect, or OUT=file"
        )


def keep(token: MadeToken, file: Path) -> None:
    """Write it where only this user reads it.

    Raises:
        SpecError: the file cannot be written. RunError: the disk is full.
    """
    try:
        storage.write_secret(file, token.token.encode())
    except OSError as error:
        raise SpecError(
            f"token: expected a file that this user can write, got {file} ({error.strerror}); "
            "pass OUT=file"
        ) from error
