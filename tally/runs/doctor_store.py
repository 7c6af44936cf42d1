"""What doctor looks at on the kubeconfig's cluster of the store that pods will have, by names."""

from collections.abc import Iterator, Mapping

from tally.buckets import endpoints
from tally.errors import SpecError
from tally.kube.cluster import Cluster, Refused
from tally.kube.template import Object
from tally.runs.doctor_kubernetes import namespace_of
from tally.runs.finding import Check, Finding
from tally.runs.placement import Placement, placement
from tally.runs.tasks import SECRET_KEYS

_SECONDS = 3.5  # two Services one after the other are less than a check has
_REMEDY = "set TALLY_STORE and AWS_ENDPOINT_URL to a bucket that pods reach"


def checks(cluster: Cluster, environment: Mapping[str, str]) -> list[Check]:
    """What to look at there, once it answers."""
    try:
        placed = placement(environment)
    except SpecError:
        return []  # has a line of its own
    namespace = namespace_of(environment)
    return [
        Check("store's Service", lambda: services(cluster, placed)),
        Check("store's Secret", lambda: secret(cluster, placed, namespace)),
    ]


def services(cluster: Cluster, placed: Placement) -> Iterator[Finding]:
    """Which of the Services that steps will try is there; of a store of the user's own none is."""
    what, there, names = "store's Service", [], []
    for endpoint in placed.environment.get(endpoints.VARIABLE, "").split():
        name, namespace = endpoints.host_of(endpoint).split(".")[:2]
        names.append(f"{namespace}/{name}")
        try:
            found = _object(cluster, f"api/v1/namespaces/{namespace}/services/{name}")
        except _NotAllowed:
            yield _not_looked_at(what, f"get Services of {namespace}")
            return
        if found is not None:
            there.append((names[-1], endpoints.port_of(endpoint), _ports(found)))
    if there:
        taken, port, ports = there[0]
        found_words = f"{taken}, port {port}" if port in ports else f"{taken} has no port {port}"
        if others := [name for name, _, _ in there[1:]]:
            found_words += f" ({', '.join(others)} as well)"
        yield Finding(what, port in ports, found_words, _REMEDY)
    elif names:
        yield Finding(what, False, f"neither {' nor '.join(names)} is there", _REMEDY)


def secret(cluster: Cluster, placed: Placement, namespace: str) -> Iterator[Finding]:
    """Whether the Secret with the store's credentials is where pods are, with both keys."""
    what, name = "store's Secret", placed.store_secret
    if not name:
        return
    try:
        found = _object(cluster, f"api/v1/namespaces/{namespace}/secrets/{name}")
    except _NotAllowed:
        yield _not_looked_at(what, f"get Secrets of {namespace}")
        return
    remedy = (
        f"create it in {namespace} with {' and '.join(SECRET_KEYS)}, or set KFP_NAMESPACE to where "
        "runs' pods are, or TALLY_STORE_SECRET"
    )
    if found is None:
        yield Finding(what, False, f"{namespace}/{name} is not there", remedy)
        return
    lacking = [key for key in SECRET_KEYS if key not in (found.get("data") or {})]
    words = f"{namespace}/{name}" + (f" has no {' and no '.join(lacking)}" if lacking else "")
    yield Finding(what, not lacking, words, remedy)


class _NotAllowed(Exception):
    """Who asks may not look there."""


def _object(cluster: Cluster, path: str) -> Object | None:
    """As the API server has it; None where it has none."""
    try:
        return cluster.request("GET", path, seconds=_SECONDS)
    except Refused as error:
        if error.status == 403:
            raise _NotAllowed from error
        if error.status != 404:
            raise
        return None


def _not_looked_at(what: str, right: str) -> Finding:
    remedy = "let an administrator run doctor"
    return Finding(what, False, f"not looked at, as you may not {right}", remedy, needed=False)


def _ports(service: Object) -> list[int]:
    return [int(port["port"]) for port in service["spec"].get("ports") or []]
