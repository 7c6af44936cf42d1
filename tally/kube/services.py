"""Where a Service is reached: by pods under its name, from outside by what leads to it."""

import re
from collections.abc import Iterator, Sequence

from tally.kube.cluster import Cluster, Refused
from tally.kube.template import Object

_SECONDS = 4.0
_NOT_SEEN = (403, 404)  # who asks may not look there, or there is none
_PLAIN_PATH = re.compile(r"(/[\w.~-]+)*/?")
_OUTSIDE = ("ExternalIP", "InternalIP")  # of a node: the better one first


def service(cluster: Cluster, namespace: str, name: str) -> Object | None:
    """A Service, None where there is none, or who asks may not look.

    Raises:
        Refused: the API server does not answer.
    """
    return _object(cluster, f"api/v1/namespaces/{namespace}/services/{name}")


def labelled(cluster: Cluster, label: str) -> list[Object]:
    """The Services of all namespaces with a label ("key=value"), none where who asks may not look.

    Raises:
        Refused: the API server does not answer.
    """
    return _items(cluster, "api/v1/services", label)


def inside(found: Object) -> str:
    """Its address for pods; of several ports that of the first. Pure."""
    meta = found["metadata"]
    return f"http://{meta['name']}.{meta['namespace']}.svc:{_port(found)['port']}"


def forward(found: Object, port: int) -> str:
    """The command that makes it an address on this machine: http://127.0.0.1:PORT. Pure."""
    meta = found["metadata"]
    return (
        f"kubectl port-forward -n {meta['namespace']} service/{meta['name']} "
        f"{port}:{_port(found)['port']}"
    )


def outside(cluster: Cluster, found: Object) -> list[str]:
    """Addresses that may lead to it from outside, the likeliest first; nobody has tried them.

    Raises:
        Refused: the API server does not answer.
    """
    namespace = found["metadata"]["namespace"]
    ingresses = _items(cluster, f"apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses")
    by_node = found["spec"].get("type") == "NodePort"
    nodes = _items(cluster, "api/v1/nodes") if by_node else []
    return addresses(found, ingresses, nodes)


def addresses(found: Object, ingresses: Sequence[Object], nodes: Sequence[Object]) -> list[str]:
    """What leads to a Service: an Ingress, its load balancer, a port of the nodes. Pure."""
    name, port = found["metadata"]["name"], _port(found)
    scheme = "https" if port["port"] == 443 else "http"
    balanced = [f"{scheme}://{host}:{port['port']}" for host in _balancers(found)]
    by_node = [
        f"{scheme}://{host}:{port['nodePort']}"
        for kind in _OUTSIDE
        for node in nodes
        for host in _of_node(node, kind)
        if port.get("nodePort")
    ]
    routed = [url for ingress in ingresses for url in _routes(ingress, name)]
    return list(dict.fromkeys([*routed, *balanced, *by_node]))


def _routes(ingress: Object, name: str) -> Iterator[str]:
    """The addresses of an Ingress whose backend is this Service."""
    spec = ingress["spec"]
    scheme = "https" if spec.get("tls") else "http"
    for rule in spec.get("rules") or []:
        for way in (rule.get("http") or {}).get("paths") or []:
            path = str(way.get("path") or "/")
            backend = (way["backend"].get("service") or {}).get("name")
            if backend != name or not _PLAIN_PATH.fullmatch(path):
                continue
            for host in [rule["host"]] if rule.get("host") else _balancers(ingress):
                yield f"{scheme}://{host}{path.rstrip('/')}"


def _balancers(item: Object) -> list[str]:
    """The hosts that its load balancer has."""
    given = (item.get("status") or {}).get("loadBalancer") or {}
    return [
        str(one.get("hostname") or one.get("ip"))
        for one in given.get("ingress") or []
        if one.get("hostname") or one.get("ip")
    ]


def _of_node(node: Object, kind: str) -> list[str]:
    addresses = (node.get("status") or {}).get("addresses") or []
    return [str(one["address"]) for one in addresses if one["type"] == kind]


def _port(found: Object) -> Object:
    first: Object = found["spec"]["ports"][0]
    return first


def _items(cluster: Cluster, path: str, label: str = "") -> list[Object]:
    found = _object(cluster, path, label)
    return list((found or {}).get("items") or [])


def _object(cluster: Cluster, path: str, label: str = "") -> Object | None:
    query = {"labelSelector": label} if label else None
    try:
        return cluster.request("GET", path, query=query, seconds=_SECONDS)
    except Refused as error:
        if error.status in _NOT_SEEN:
            return None
        raise
