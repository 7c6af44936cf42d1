"""Every overlay builds, and what it makes is narrow, pinned, and unchanged when applied again."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.built_manifests import (
    COMPONENTS,
    KUBECTL,
    MANIFESTS,
    OVERLAYS,
    Object,
    built,
    insecure,
    key,
    of,
    overlay,
    pods,
    the,
    with_components,
)
from tally.kube.template import METRICS_PORT
from tally.machines import catalogue

pytestmark = pytest.mark.program(KUBECTL)
WHOLE = {name: (name, ()) for name in OVERLAYS} | {
    "local with all": ("local", ("grafana", "postgres", "kueue")),
    "gke with all": ("gke", ("grafana", "postgres", "kueue")),
}


@pytest.fixture(params=WHOLE, scope="module")
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    name, components = WHOLE[request.param]
    if not components:
        return overlay(name)
    return built(with_components(tmp_path_factory.mktemp("overlay"), name, *components))


def test_there_is_an_overlay_and_a_component_for_each_need() -> None:
    assert set(OVERLAYS) >= {"local", "gke", "gke-tpu", "kubeflow", "kubeflow-multiuser"}
    assert set(COMPONENTS) >= {"prometheus", "grafana", "postgres", "kueue"}


def test_no_two_objects_have_one_name(objects: list[Object]) -> None:
    assert [k for k, count in Counter(map(key, objects)).items() if count > 1] == []


def test_pods_are_restricted_and_told_what_they_may_use(objects: list[Object]) -> None:
    made = dict(pods(objects))
    assert "Deployment tally-meter" in made
    for name, template in made.items():
        assert insecure(template["spec"]) == [], name
        assert template["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false", name
        for one in template["spec"]["containers"]:
            assert one["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert set(one["resources"]["requests"]) == {"cpu", "memory"}, name
            assert "memory" in one["resources"]["limits"], name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"securityContext": {}}, "meter: runAsNonRoot"),
        ({"hostNetwork": True}, "hostNetwork: true"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "volume v: {'hostPath'}"),
    ],
)
def test_an_insecure_pod_would_be_seen(change: Object, said: str) -> None:
    spec = dict(pods(overlay("local")))["Deployment tally-meter"]["spec"]
    assert said in insecure({**spec, **change})


def test_roles_name_their_verbs_and_resources(objects: list[Object]) -> None:
    roles = of(objects, "Role") + of(objects, "ClusterRole")
    assert {"tally-gang", "tally-meter"} <= {role["metadata"]["name"] for role in roles}
    for role in roles:
        for rule in role["rules"]:
            assert rule["verbs"] and rule["resources"]
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]], role


def test_every_binding_is_of_a_role_and_accounts_that_are_there(objects: list[Object]) -> None:
    there = {(o["metadata"].get("namespace", ""), o["metadata"]["name"])
             for o in of(objects, "ServiceAccount")}  # fmt: skip
    for binding in of(objects, "RoleBinding") + of(objects, "ClusterRoleBinding"):
        assert of(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"])
        for subject in binding["subjects"]:
            who = (subject["namespace"], subject["name"])
            assert who in there | {("kubeflow", "pipeline-runner")}, binding


def test_every_namespace_is_restricted_and_denies_by_default(objects: list[Object]) -> None:
    namespaces = of(objects, "Namespace")
    assert namespaces
    for namespace in namespaces:
        for mode in ("enforce", "audit", "warn"):
            label = f"pod-security.kubernetes.io/{mode}"
            assert namespace["metadata"]["labels"][label] == "restricted"
        assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in [
            policy["spec"]
            for policy in of(objects, "NetworkPolicy")
            if policy["metadata"]["namespace"] == namespace["metadata"]["name"]
        ]


def test_whoever_runs_where_all_is_denied_has_a_policy_that_lets_it_ask_for_names(
    objects: list[Object],
) -> None:
    for deployment in of(objects, "Deployment"):
        own = deployment["spec"]["template"]["metadata"]["labels"]
        ports = [
            port["port"]
            for policy in of(objects, "NetworkPolicy")
            if policy["metadata"]["namespace"] == deployment["metadata"]["namespace"]
            and (wanted := policy["spec"]["podSelector"].get("matchLabels"))
            and wanted.items() <= own.items()
            for rule in policy["spec"].get("egress", [])
            for port in rule.get("ports", [])
        ]
        assert 53 in ports, deployment["metadata"]["name"]


def test_images_are_pinned(objects: list[Object]) -> None:
    for name, template in pods(objects):
        for one in template["spec"]["containers"]:
            assert re.search(r":v?\d+\.\d+\.\d+$|@sha256:[0-9a-f]{64}$", one["image"]), name


def test_the_server_stores_what_is_applied_so_that_again_is_unchanged(
    objects: list[Object],
) -> None:
    """What it leaves out or adds to would be a difference each time: each of these was one."""
    for name, template in pods(objects):
        for one in template["spec"]["containers"]:
            assert [e["name"] for e in one.get("env", []) if e.get("value") == ""] == [], name
    for deployment in of(objects, "Deployment"):
        strategy = deployment["spec"].get("strategy", {})
        assert strategy != {"type": "RollingUpdate"}, deployment["metadata"]["name"]


def test_what_is_removed_by_its_label_carries_it(objects: list[Object]) -> None:
    for item in objects:
        assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "tally", key(item)


def test_a_configmap_that_is_mounted_is_there(objects: list[Object]) -> None:
    there = {(o["metadata"]["namespace"], o["metadata"]["name"]) for o in of(objects, "ConfigMap")}
    for deployment in of(objects, "Deployment"):
        for volume in deployment["spec"]["template"]["spec"].get("volumes", []):
            source = volume.get("configMap", {"optional": True})
            if not source.get("optional"):
                assert (deployment["metadata"]["namespace"], source["name"]) in there


@pytest.mark.parametrize(("name", "where"), [("local", "tally-runs"), ("gke", "kubeflow")])
def test_gangs_wait_in_the_queue_of_their_namespace(name: str, where: str, tmp_path: Path) -> None:
    plain = overlay(name)
    queued = built(with_components(tmp_path, name, "kueue"))
    assert "TALLY_QUEUE" not in json.dumps(plain)
    (queue,) = of(queued, "LocalQueue")
    settings = the(queued, "ConfigMap", "tally")
    assert settings["metadata"]["namespace"] == queue["metadata"]["namespace"] == where
    assert settings["data"]["TALLY_QUEUE"] == queue["metadata"]["name"]
    assert of(queued, "ClusterQueue", queue["spec"]["clusterQueue"])


@pytest.mark.parametrize("name", ["gke", "kubeflow"])
def test_a_conductor_is_kubeflows_own_account_and_kubeflow_is_left_as_it_is(name: str) -> None:
    made = overlay(name)
    assert not of(made, "Namespace", "kubeflow")
    (binding,) = of(made, "RoleBinding", "tally-gang")
    assert {"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"} in (
        binding["subjects"]
    )
    (person,) = of(made, "Role", "tally-person")  # what resizing a run takes, and no other change
    assert person["rules"] == [
        {
            "apiGroups": ["argoproj.io"],
            "resources": ["workflows"],
            "verbs": ["get", "list", "update"],
        }
    ]
    there = [o for o in made if o["metadata"].get("namespace") == "kubeflow"]
    for policy in of(there, "NetworkPolicy"):
        assert policy["spec"]["podSelector"] != {}
    (quota,) = of(there, "ResourceQuota")
    # one of CPU or memory would refuse Kubeflow's own pods, which do not all say what they need
    assert not [name for name in quota["spec"]["hard"] if "cpu" in name or "memory" in name]


def test_tpu_chips_are_for_the_tpu_overlay() -> None:
    def chips(name: str) -> str:
        (quota,) = of(overlay(name), "ResourceQuota")
        return str(quota["spec"]["hard"]["requests.google.com/tpu"])

    assert chips("gke") == "0" and int(chips("gke-tpu")) > 0


def test_prices_of_ones_own_are_where_the_meter_and_where_the_steps_read_them() -> None:
    made = overlay("kubeflow")
    kept = of(made, "ConfigMap", "tally-machines")  # the name by which runs/tasks.py mounts it
    assert {o["metadata"]["namespace"] for o in kept} == {"tally", "kubeflow"}
    (files,) = {json.dumps(o["data"]) for o in kept}
    assert list(json.loads(files)) == ["machines.yaml"]
    meter = the(made, "Deployment", "tally-meter")["spec"]["template"]["spec"]
    volume = {"name": "machines", "configMap": {"name": "tally-machines", "optional": True}}
    assert volume in meter["volumes"]


def test_the_example_of_prices_is_a_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    file = MANIFESTS / "overlays/kubeflow/machines.yaml"
    monkeypatch.setenv("TALLY_MACHINES", str(file))
    assert catalogue.machine("our-gpu-box").file == str(file)
    assert catalogue.machine("n2-standard-4").file != str(file)


def test_each_profile_gets_the_conductors_rules_and_no_more() -> None:
    made = overlay("kubeflow-multiuser")
    (role,) = of(overlay("local"), "Role", "tally-gang")
    gathered = the(made, "ClusterRole", "tally-gang")
    label = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-edit"
    assert gathered["rules"] == role["rules"]
    assert gathered["metadata"]["labels"][label] == "true"
    assert not of(made, "RoleBinding")


def test_grafana_shows_the_dashboard_that_is_shipped_out_of_prometheus(tmp_path: Path) -> None:
    made = built(with_components(tmp_path, "local", "grafana"))
    shown = the(made, "ConfigMap", "tally-dashboard")["data"]["tally.json"]
    assert json.loads(shown) == json.loads((MANIFESTS / "prometheus/dashboard.json").read_text())
    (settings,) = (
        o for o in of(made, "ConfigMap") if o["metadata"]["name"].startswith("tally-grafana")
    )
    server = the(made, "Service", "tally-prometheus")
    port = server["spec"]["ports"][0]["port"]
    assert f"http://tally-prometheus:{port}" in settings["data"]["sources.yaml"]
    assert server["metadata"]["namespace"] == settings["metadata"]["namespace"]


def test_postgresql_takes_the_volume_away_and_lets_two_meters_in(tmp_path: Path) -> None:
    made = built(with_components(tmp_path, "local", "postgres"))
    assert not of(made, "PersistentVolumeClaim", "tally-ledger")
    meter = the(made, "Deployment", "tally-meter")["spec"]
    (container,) = meter["template"]["spec"]["containers"]
    (url,) = (entry for entry in container["env"] if entry["name"] == "TALLY_LEDGER_URL")
    assert meter["replicas"] == 2
    assert url == {
        "name": "TALLY_LEDGER_URL",
        "valueFrom": {"secretKeyRef": {"name": "tally-ledger", "key": "url"}},
    }
    assert "ledger" not in json.dumps(
        [container["volumeMounts"], meter["template"]["spec"]["volumes"]]
    )


def egress(objects: list[Object], name: str) -> list[tuple[Any, set[Any]]]:
    rules = the(objects, "NetworkPolicy", name)["spec"]["egress"]
    return [(rule.get("to"), {port["port"] for port in rule["ports"]}) for rule in rules]


def test_prometheus_reaches_the_ports_that_it_asks_and_is_let_in_there() -> None:
    made = overlay("local")
    (meter,) = the(made, "Deployment", "tally-meter")["spec"]["template"]["spec"]["containers"]
    ports = set().union(*(ports for _, ports in egress(made, "tally-prometheus")))
    assert {METRICS_PORT, meter["ports"][0]["containerPort"], 10250, 53} <= ports
    opened = the(made, "NetworkPolicy", "tally-meter")["spec"]["ingress"]
    assert [rule["from"] for rule in opened] == [[{"namespaceSelector": {}}]]


def test_kubelets_that_sign_for_themselves_are_asked_the_same() -> None:
    def job(name: str) -> Object:
        (config,) = (
            o["data"]["kubelets.yaml"]
            for o in of(overlay(name), "ConfigMap")
            if "kubelets.yaml" in o.get("data", {})
        )
        (found,) = yaml.safe_load(config)["scrape_configs"]
        return dict(found)

    own, signed = job("local"), job("gke")
    assert own.pop("tls_config") == {"insecure_skip_verify": True}
    assert "insecure_skip_verify" not in signed.pop("tls_config")
    assert own == signed


def test_only_workers_reach_a_conductor() -> None:
    policy = the(overlay("local"), "NetworkPolicy", "tally-conductor")["spec"]
    assert policy["podSelector"]["matchExpressions"] == [
        {"key": "tally.dev/conductor", "operator": "Exists"}
    ]
    workers = {"matchExpressions": [{"key": "tally.dev/gang", "operator": "Exists"}]}
    assert policy["ingress"] == [{"from": [{"podSelector": workers}]}]


def test_steps_may_go_where_gangs_may_not() -> None:
    (steps,) = of(overlay("local"), "NetworkPolicy", "tally-steps")
    without = {"key": "tally.dev/gang", "operator": "DoesNotExist"}
    assert without in steps["spec"]["podSelector"]["matchExpressions"]
