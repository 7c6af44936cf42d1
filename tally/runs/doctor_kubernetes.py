"""What doctor looks at on the kubeconfig's cluster: rights, nodes, images, the meter's pods."""

import re
from collections.abc import Iterator, Mapping, Sequence

from tally import content
from tally.content import COMPONENTS_IMAGE
from tally.errors import SpecError
from tally.kube import finalizer
from tally.kube.cluster import Cluster, Refused
from tally.kube.manifests import FINALIZER, GANG
from tally.kube.permissions import CannotTell, Shipped, denied, own_account, shipped
from tally.kube.pools import nodes_by_machine_type, nodes_with_image, unpriced
from tally.kube.template import Object
from tally.machines import catalogue
from tally.runs.doctor_services import is_meter_well
from tally.runs.finding import Check, Finding
from tally.runs.kubeflow.settings import Settings
from tally.runs.placement import placement

ROLE_FILE = content.PROJECT / "manifests" / "base" / "conductor" / "rbac.yaml"
_OLDEST = (1, 27)  # an Indexed Job's completions can be changed from then on
METER = "app.kubernetes.io/name=tally-meter"
# as whom Kubeflow runs steps: for one user, in profiles
_KUBEFLOW_ACCOUNTS = ("pipeline-runner", "default-editor")
_SECONDS = 4.0
_NAMES = 5  # of many, in one line


def namespace_of(environment: Mapping[str, str]) -> str:
    """Where runs' pods are."""
    return Settings(host="", namespace=environment.get("KFP_NAMESPACE", "").strip()).pods_namespace


def version(cluster: Cluster) -> Finding:
    """Which Kubernetes answers, and whether it is new enough.

    Raises:
        Refused: none does, or not with these credentials.
    """
    said = str(cluster.request("GET", "version", seconds=_SECONDS).get("gitVersion", ""))
    found = re.match(r"v?(\d+)\.(\d+)", said)
    new = not found or (int(found[1]), int(found[2])) >= _OLDEST
    oldest = ".".join(map(str, _OLDEST))
    return Finding("Kubernetes", new, said or "of no version", f"upgrade it to {oldest} or newer")


def checks(cluster: Cluster, environment: Mapping[str, str]) -> list[Check]:
    """What to look at there, once it answers."""
    return [
        Check("rights", lambda: rights(cluster, environment)),
        Check("machine types", lambda: machine_types(cluster), needed=False),
        Check("image", lambda: image(cluster, environment), needed=False),
        Check("meter's pods", lambda: meter_pods(cluster, environment), needed=False),
        Check("store's claim", lambda: store_claim(cluster, environment)),
    ]


def rights(cluster: Cluster, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the account that conductors run as has each verb of the shipped Role."""
    namespace, ours = namespace_of(environment), shipped(ROLE_FILE)
    if _is_missing(cluster, f"api/v1/namespaces/{namespace}"):
        remedy = "set KFP_NAMESPACE to where runs' pods are, or make deploy OVERLAY=…"
        yield Finding("namespace", False, f"{namespace} is not there", remedy)
        return
    account = account_of(cluster, environment)
    if not account:
        found = f"none of {', '.join(_accounts(environment))} in {namespace}"
        remedy = "make deploy OVERLAY=…, or set KFP_SERVICE_ACCOUNT to that of runs"
        yield Finding("service account", False, found, remedy)
        return
    yield _of_rights(cluster, namespace, account, ours)


def account_of(cluster: Cluster, environment: Mapping[str, str]) -> str:
    """As whom runs' pods are, "" where there is nobody.

    Raises:
        Refused: the API server does not answer.
    """
    return _first_there(cluster, namespace_of(environment), _accounts(environment))


def _accounts(environment: Mapping[str, str]) -> tuple[str, ...]:
    """As whom they may be."""
    given = environment.get("KFP_SERVICE_ACCOUNT", "").strip()
    return (given,) if given else (*_KUBEFLOW_ACCOUNTS, shipped(ROLE_FILE).account)


def _first_there(cluster: Cluster, namespace: str, accounts: Sequence[str]) -> str:
    """The first of the service accounts that is there, "" where none is."""
    for name in accounts:
        path = f"api/v1/namespaces/{namespace}/serviceaccounts/{name}"
        try:
            cluster.request("GET", path, seconds=_SECONDS)
        except Refused as error:
            if error.status == 403:  # who may not look is a pod of the namespace, or a stranger
                return own_account(cluster, namespace) or accounts[0]
            if error.status != 404:
                raise
        else:
            return name
    return ""


def _of_rights(cluster: Cluster, namespace: str, account: str, ours: Shipped) -> Finding:
    who = f"{namespace}/{account}"
    try:
        lacking = denied(cluster, namespace, account, ours.rights)
    except CannotTell:
        found = f"can't tell what {who} may do, as you may not create SubjectAccessReviews"
        remedy = f"let an administrator of {namespace} run doctor"
        return Finding("rights", False, found, remedy, needed=False)
    if not lacking:
        found = f"{who} may do all {len(ours.rights)} that a conductor does"
        return Finding("rights", True, found, "")
    remedy = (
        f"make deploy OVERLAY=…, or kubectl apply -n {namespace} -f manifests/gang-rbac.yaml and "
        f"bind its Role {ours.role} to {account}"
    )
    if any(right.own for right in lacking):
        remedy += ", which has to stand in its resourceNames"
    return Finding("rights", False, f"{who} may not {', '.join(map(str, lacking))}", remedy)


def machine_types(cluster: Cluster) -> Iterator[Finding]:
    """The catalogue's machine types of clusters against the nodes, and back."""
    nodes = _nodes(cluster)
    prices = catalogue.load()
    by_type = nodes_by_machine_type(prices, nodes)
    there = [f"{name} ({count})" for name, count in by_type.items() if count]
    if there:
        yield Finding("machine types", True, f"nodes of {', '.join(there)}", "")
    if without := [name for name, count in by_type.items() if not count]:
        found = f"no node of {len(nodes)} has the labels for {', '.join(without)}"
        remedy = (
            "a run there waits for ever unless a node pool with them scales from zero; labels of "
            "your own go into TALLY_MACHINES"
        )
        yield Finding("machine types", False, found, remedy, needed=False)
    for name, why in sorted(unpriced(prices, nodes).items()):
        found, _, remedy = why.rpartition("; ")
        yield Finding(f"price of {name}", False, found, remedy, needed=False)


def image(cluster: Cluster, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Which image pods will have, and whether a node has it."""
    try:
        given = placement(environment).image
    except SpecError:
        return  # has a line of its own
    name = given or COMPONENTS_IMAGE
    nodes = _nodes(cluster)
    count = nodes_with_image(name, nodes)
    pinned = "" if "@sha256:" in name else ", a tag and no digest"
    if count:
        yield Finding("image", True, f"{name}{pinned}, on {count} of {len(nodes)} nodes", "")
        return
    found = f"{name}{pinned}, on no node as far as they say"
    remedy = "it must be in a registry that nodes pull from"
    if not given:
        remedy = "make images REGISTRY=… PUSH=1, and set TALLY_IMAGE to what it prints"
    yield Finding("image", False, found, remedy, needed=not given)


def meter_pods(cluster: Cluster, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether a meter runs, and pods of gangs that wait for one that does not."""
    namespace = namespace_of(environment)
    meters, everywhere = _pods(cluster, METER, "tally")
    ready = [_name(pod) for pod in meters if _is_ready(pod)]
    if ready:
        yield Finding("meter's pods", True, f"{_some(ready)} ready", "")
    elif meters:
        found = f"{_some([_name(pod) for pod in meters])} not ready"
        remedy = "kubectl describe says why; until then pods of gangs stay when they have ended"
        yield Finding("meter's pods", False, found, remedy)
    else:
        found = "none" if everywhere else "none in the namespace tally, and you may not see others"
        remedy = "make deploy OVERLAY=…; without one the bill knows only what conductors say"
        yield Finding("meter's pods", False, found, remedy, needed=False)
    if not ready and not is_meter_well(environment):
        gangs, _ = _pods(cluster, GANG, namespace)
        if carried := [_name(pod) for pod in gangs if finalizer.is_carried(pod)]:
            found = f"{_some(carried)} with {FINALIZER}, which no meter takes off"
            remedy = "make reap lets those go whose gang has ended"
            yield Finding("pods of gangs", False, found, remedy)


def store_claim(cluster: Cluster, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the volume of TALLY_STORE_CLAIM is there."""
    namespace, name = namespace_of(environment), environment.get("TALLY_STORE_CLAIM", "").strip()
    if not name:
        return
    path = f"api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"
    remedy = f"create it in {namespace}, ReadWriteMany, or correct TALLY_STORE_CLAIM"
    if _is_missing(cluster, path):
        yield Finding("store's claim", False, f"{namespace}/{name} is not there", remedy)
        return
    phase = cluster.request("GET", path, seconds=_SECONDS)["status"].get("phase", "Pending")
    # bound at the first pod where its class waits for one
    found = f"{namespace}/{name} is {phase}"
    remedy = "kubectl describe says why"
    yield Finding("store's claim", phase == "Bound", found, remedy, needed=phase == "Lost")


def _nodes(cluster: Cluster) -> list[Object]:
    try:
        return list(cluster.request("GET", "api/v1/nodes", seconds=_SECONDS)["items"])
    except Refused as error:
        if error.status != 403:
            raise
        raise SpecError(
            "nodes: expected to list them, got Forbidden; let an administrator run doctor"
        ) from error


def _pods(cluster: Cluster, selector: str, namespace: str) -> tuple[list[Object], bool]:
    """Pods of all namespaces, else of this one; whether of all."""
    query = {"labelSelector": selector}
    try:
        return cluster.request("GET", "api/v1/pods", query=query, seconds=_SECONDS)["items"], True
    except Refused as error:
        if error.status != 403:
            raise
    path = f"api/v1/namespaces/{namespace}/pods"
    try:
        return cluster.request("GET", path, query=query, seconds=_SECONDS)["items"], False
    except Refused as error:
        if error.status != 403:
            raise
        return [], False


def _is_missing(cluster: Cluster, path: str) -> bool:
    """Whether it surely is not there; who may not look does not know."""
    try:
        cluster.request("GET", path, seconds=_SECONDS)
    except Refused as error:
        if error.status not in (403, 404):
            raise
        return error.status == 404
    return False


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _some(names: list[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")
