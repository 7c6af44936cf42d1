"""doctor against an API server: nodes, images, the meter's pods, what cannot be asked."""

from pathlib import Path
from typing import Any

import pytest

from helpers.kubernetes_standin import TOKEN, ApiServer, Lines
from tally.kube.manifests import FINALIZER, GANG

E2 = {"node.kubernetes.io/instance-type": "e2-standard-4"}


def node(name: str, labels: dict[str, str], *images: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "status": {"images": [{"names": list(images)}]},
    }


def pod(name: str, labels: dict[str, str], ready: bool = True, **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "tally", "name": name, "labels": labels, **meta},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


METER = {"app.kubernetes.io/name": "tally-meter"}


def test_machine_types_without_a_node_are_named_and_nodes_without_a_price(
    api: ApiServer, lines: Lines
) -> None:
    api.objects["/api/v1/nodes"] = [
        node("a", E2), node("b", E2), node("c", {"tally.dev/machine-type": "ours"}),
    ]  # fmt: skip
    there, without = lines("machine types")
    assert there == "ok       machine types: nodes of e2-standard-4 (2)"
    assert without.startswith("optional  machine types: no node of 3 has the labels for ")
    assert " e2-standard-2," in without and "e2-standard-4" not in without
    (price,) = lines("price of")
    assert "price of ours: " in price and "TALLY_MACHINES" in price


def test_an_accelerators_labels_count_as_well(api: ApiServer, lines: Lines) -> None:
    from tally.kube.pools import node_selector
    from tally.machines.catalogue import load

    gpus = [m for m in load().machine_types.values() if m.kubernetes and m.kubernetes.gpu]
    selector = node_selector(gpus[0])
    assert "cloud.google.com/gke-accelerator" in selector
    api.objects["/api/v1/nodes"] = [node("a", selector)]
    assert gpus[0].name in lines("machine types")[0]
    bare = {key: value for key, value in selector.items() if "accelerator" not in key}
    api.objects["/api/v1/nodes"] = [node("a", bare)]
    assert not any(f"{gpus[0].name} (" in line for line in lines("machine types"))


DIGEST = "registry.example/tally@sha256:" + "a" * 64


@pytest.mark.parametrize(
    "given, on_node, begins",
    [
        pytest.param(DIGEST, DIGEST, f"ok       image: {DIGEST}, on 1 of 2 nodes", id="there"),
        pytest.param(DIGEST, "busybox", "optional  image: registry.example/tally@", id="to pull"),
        pytest.param(
            "r.example/t:1", "r.example/t:1", "ok       image: r.example/t:1, a tag", id="tag"
        ),
        pytest.param(
            "me/t:1", "docker.io/me/t:1", "ok       image: me/t:1, a tag", id="Docker Hub"
        ),
        pytest.param("", "busybox", "missing  image: tally:", id="not set"),
        pytest.param("a b", "busybox", "missing  settings: TALLY_IMAGE: expected", id="bad"),
    ],
)
def test_the_image_that_pods_will_have(
    api: ApiServer, lines: Lines, given: str, on_node: str, begins: str
) -> None:
    api.objects["/api/v1/nodes"] = [node("a", {}, on_node), node("b", {})]
    found = lines("settings" if "settings" in begins else "image", TALLY_IMAGE=given)
    assert len(found) == 1 and found[0].startswith(begins)


def test_a_gangs_pods_that_only_a_meter_would_let_go(api: ApiServer, lines: Lines) -> None:
    carried = pod("gang-0", {GANG: "g"}, finalizers=[FINALIZER])
    api.objects["/api/v1/pods"] = [carried, pod("gang-1", {GANG: "g"})]
    (line,) = lines("pods of gangs")
    assert line.startswith(f"missing  pods of gangs: tally/gang-0 with {FINALIZER}, which no meter")
    assert "make reap" in line
    api.objects["/api/v1/pods"].append(pod("meter", METER, ready=False))
    assert lines("meter's pods")[0].startswith("missing  meter's pods: tally/meter not ready")
    assert lines("pods of gangs")
    api.objects["/api/v1/pods"][-1] = pod("meter", METER)
    assert lines("meter's pods") == ["ok       meter's pods: tally/meter ready"]
    assert not lines("pods of gangs")


def test_who_may_see_one_namespace_only_is_told_of_that(api: ApiServer, lines: Lines) -> None:
    api.forbidden = {"/api/v1/pods", "/api/v1/nodes"}
    api.objects["/api/v1/namespaces/kubeflow/pods"] = [
        pod("gang-0", {GANG: "g"}, finalizers=[FINALIZER])
    ]
    assert "none in the namespace tally, and you may not see others" in lines("meter's pods")[0]
    assert lines("pods of gangs")
    for what in ("machine types", "image"):
        (line,) = lines(what)
        assert line.startswith(f"optional  {what}: nodes: expected to list them, got Forbidden")
    assert lines("rights")[0].startswith("ok")


def test_the_claim_of_the_store(api: ApiServer, lines: Lines) -> None:
    environment = {"TALLY_STORE": "/store", "TALLY_STORE_CLAIM": "store"}
    path = "/api/v1/namespaces/kubeflow/persistentvolumeclaims/store"
    (line,) = lines("store's claim", **environment)
    assert line.startswith("missing  store's claim: kubeflow/store is not there; create it")
    for phase, begins in (("Bound", "ok"), ("Pending", "optional"), ("Lost", "missing")):
        api.objects[path] = {"status": {"phase": phase}}
        (line,) = lines("store's claim", **environment)
        assert line.startswith(begins)


def test_a_path_that_hangs_hides_no_other(api: ApiServer, lines: Lines) -> None:
    api.hanging = {"/api/v1/nodes"}
    found = lines(seconds=1.0)
    late = [line for line in found if "no end within 1 s" in line]
    assert [line.partition(": ")[0] for line in late] == [
        "optional  machine types",
        "optional  image",
    ]
    assert any(line.startswith("ok       rights") for line in found)


@pytest.mark.parametrize("version, begins", [("v1.26.9", "missing"), ("v1.27.0-gke.1", "ok")])
def test_a_kubernetes_that_is_too_old(
    api: ApiServer, lines: Lines, version: str, begins: str
) -> None:
    api.version = version
    assert lines("Kubernetes")[0].startswith(begins)


def test_a_cluster_that_cannot_be_asked_is_one_line(
    api: ApiServer, lines: Lines, tmp_path: Path
) -> None:
    (line,) = lines(KUBECONFIG=str(tmp_path / "none"), TALLY_IMAGE=DIGEST)[:1]
    assert line.startswith("missing  Kubernetes: Kubernetes: expected a kubeconfig")
    path = tmp_path / "kubeconfig"
    path.write_text(path.read_text().replace(TOKEN, "expired"))
    said = lines()
    assert said[0].startswith("missing  Kubernetes: ") and "got 401" in said[0]
    assert said[0].endswith("renew the credentials of the kubeconfig or the service account")
    assert not any("rights" in line for line in said)
