"""What an account may do in a namespace, as the API server itself decides it, against a Role."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tally.errors import SpecError
from tally.kube.cluster import Cluster, Refused
from tally.kube.template import Object

_AUTHORIZATION = "apis/authorization.k8s.io/v1"
_WHO_AM_I = "apis/authentication.k8s.io/v1/selfsubjectreviews"  # Kubernetes 1.28 or newer
_SECONDS = 4.0


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one kind of object of a namespace.

    Attributes:
        group, resource, verb: as a Role writes them.
        own: on the account itself only, of accounts; a Role does so by their names.
    """

    group: str
    resource: str
    verb: str
    own: bool = False

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


@dataclass(frozen=True)
class Shipped:
    """A file of manifests with an account and what it may do.

    Attributes:
        account: the ServiceAccount's name.
        role: the Role's name.
        rights: each verb of the Role, in its order.
    """

    account: str
    role: str
    rights: tuple[Right, ...]


def shipped(path: Path) -> Shipped:
    """The account and the Role of a file of manifests.

    Raises:
        SpecError: the file is not there, or has not one of each.
    """
    try:
        found = list(filter(None, yaml.safe_load_all(path.read_text(encoding="utf-8"))))
        (account,) = (item for item in found if item["kind"] == "ServiceAccount")
        (role,) = (item for item in found if item["kind"] == "Role")
        account_name, role_name = (item["metadata"]["name"] for item in (account, role))
        return Shipped(account_name, role_name, tuple(_rights(role)))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise SpecError(
            f"manifests: expected a ServiceAccount and a Role in {path}, got "
            f"{type(error).__name__}; run it in the project's folder"
        ) from error


def _rights(role: Object) -> Iterable[Right]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Right(group, resource, verb, own=bool(rule.get("resourceNames")))


class CannotTell(Exception):
    """Whoever asks may not ask what others may do."""


def denied(
    cluster: Cluster, namespace: str, account: str, rights: Iterable[Right]
) -> tuple[Right, ...]:
    """Those of the rights that a service account does not have in its namespace.

    Args:
        cluster: as somebody who may create LocalSubjectAccessReviews in the namespace (its
            administrators do) or SubjectAccessReviews, or as the account itself.
        namespace, account: whose rights.
        rights: what it should have.

    Raises:
        CannotTell: the caller is neither.
        Refused: the cluster does not answer.
    """
    ask = _asker(cluster, namespace, account)
    return tuple(right for right in rights if not ask(right))


def _asker(cluster: Cluster, namespace: str, account: str) -> Callable[[Right], bool]:
    """Whether the account has a right, asked in the first way that is allowed."""
    name = f"system:serviceaccount:{namespace}:{account}"
    groups = ["serviceaccounts", f"serviceaccounts:{namespace}", "authenticated"]
    subject = {"user": name, "groups": [f"system:{group}" for group in groups]}
    local = f"namespaces/{namespace}/localsubjectaccessreviews"
    ways: list[tuple[str, Object]] = [(local, subject), ("subjectaccessreviews", subject)]
    if _own_name(cluster) == name:
        ways.append(("selfsubjectaccessreviews", {}))

    for path, whose in ways:
        try:
            _review(cluster, path, whose, namespace, account, Right("", "pods", "get"))
        except Refused as error:
            if error.status != 403:
                raise
        else:
            return functools.partial(_review, cluster, path, whose, namespace, account)
    raise CannotTell


def _review(
    cluster: Cluster, path: str, subject: Object, namespace: str, account: str, right: Right
) -> bool:
    resource, _, subresource = right.resource.partition("/")
    asked: dict[str, Any] = {
        "namespace": namespace,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "name": account if right.own else "",
        "verb": right.verb,
    }
    body = {
        "metadata": {"namespace": namespace} if path.startswith("namespaces/") else {},
        "spec": {**subject, "resourceAttributes": asked},
    }
    said = cluster.request("POST", f"{_AUTHORIZATION}/{path}", body, seconds=_SECONDS)
    return bool(said["status"].get("allowed"))


def own_account(cluster: Cluster, namespace: str) -> str:
    """The service account of this namespace that asks; "" where it is somebody else."""
    prefix, name = f"system:serviceaccount:{namespace}:", _own_name(cluster)
    return name.removeprefix(prefix) if name.startswith(prefix) else ""


def _own_name(cluster: Cluster) -> str:
    """Who asks; "" where the server does not tell."""
    try:
        said = cluster.request("POST", _WHO_AM_I, {}, seconds=_SECONDS)
    except Refused:
        return ""
    return str(said.get("status", {}).get("userInfo", {}).get("username", ""))
