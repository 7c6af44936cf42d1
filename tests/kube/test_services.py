"""What leads to a Service from outside, and which of it comes first."""

from typing import Any

import pytest

from tally.kube.services import addresses, forward, inside

Object = dict[str, Any]


def service(port: int = 8080, status: Object | None = None, **spec: Any) -> Object:
    ports = [{"port": port, "nodePort": spec.pop("node_port", None)}]
    meta = {"name": "tally-meter", "namespace": "tally"}
    return {"metadata": meta, "spec": {"ports": ports, **spec}, "status": status or {}}


def balanced(**host: str) -> Object:
    return {"loadBalancer": {"ingress": [host]}}


def ingress(backend: str = "tally-meter", path: str = "/", **changes: Any) -> Object:
    way = {"path": path, "backend": {"service": {"name": backend, "port": {"number": 8080}}}}
    rule = {"http": {"paths": [way]}, **({"host": changes["host"]} if "host" in changes else {})}
    spec = {"rules": [rule], **({"tls": [{}]} if changes.get("tls") else {})}
    return {"spec": spec, "status": changes.get("status", {})}


def node(**addresses: str) -> Object:
    return {"status": {"addresses": [{"type": k, "address": v} for k, v in addresses.items()]}}


@pytest.mark.parametrize(
    ("found", "ingresses", "nodes", "urls"),
    [
        pytest.param(service(), [], [], [], id="the cluster's own"),
        pytest.param(service(status=balanced(ip="192.0.2.7")), [], [],
                     ["http://192.0.2.7:8080"], id="balancer by address"),
        pytest.param(service(443, balanced(hostname="m.example")), [], [],
                     ["https://m.example:443"], id="balancer by name, with TLS"),
        pytest.param(service(status={"loadBalancer": {"ingress": [{}]}}), [], [], [],
                     id="a balancer that has none yet"),
        pytest.param(service(), [ingress(host="m.example", tls=True)], [],
                     ["https://m.example"], id="Ingress"),
        pytest.param(service(), [ingress(path="/meter/", status=balanced(ip="192.0.2.8"))], [],
                     ["http://192.0.2.8/meter"], id="Ingress without a host"),
        pytest.param(service(), [ingress("another", host="m.example")], [], [],
                     id="another's Ingress"),
        pytest.param(service(), [ingress(path="/m(/|$)(.*)", host="m.example")], [], [],
                     id="an expression for a path"),
        pytest.param(service(), [{"spec": {"defaultBackend": {}}}], [], [], id="no rules"),
        pytest.param(service(node_port=30080, type="NodePort"), [],
                     [node(InternalIP="10.0.0.1"),
                      node(InternalIP="10.0.0.2", ExternalIP="192.0.2.9")],
                     ["http://192.0.2.9:30080", "http://10.0.0.1:30080", "http://10.0.0.2:30080"],
                     id="a port of the nodes"),
        pytest.param(service(status=balanced(ip="192.0.2.7")), [ingress(host="m.example")], [],
                     ["http://m.example", "http://192.0.2.7:8080"], id="several"),
    ],
)  # fmt: skip
def test_what_leads_to_it(
    found: Object, ingresses: list[Object], nodes: list[Object], urls: list[str]
) -> None:
    assert addresses(found, ingresses, nodes) == urls


def test_its_name_for_pods_and_the_command_that_forwards_it() -> None:
    assert inside(service(80)) == "http://tally-meter.tally.svc:80"
    assert forward(service(80), 8080) == (
        "kubectl port-forward -n tally service/tally-meter 8080:80"
    )
