"""doctor on what `make deploy OVERLAY=local` made: good where it is, what is wrong by its name."""

import contextlib
import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.cluster.deployed_run import settings_of_meter
from helpers.cluster.deploying import RUNS, TALLY, Deployed, deploy, forwarded, kubectl
from helpers.cluster.objects import IMAGE, PROJECT, path_of, until_true
from tally.kube.cluster import Cluster

pytestmark = pytest.mark.timeout(180)

Doctor = Callable[..., dict[str, str]]

_RULES = next(
    item["rules"]
    for item in yaml.safe_load_all((PROJECT / "manifests/gang-rbac.yaml").read_text())
    if item["kind"] == "Role"
)
RIGHTS = [
    (number, resource, verb)
    for number, rule in enumerate(_RULES)
    for resource in rule["resources"]
    for verb in rule["verbs"]
]


@pytest.fixture
def doctor(deployed: Deployed, tmp_path: Path) -> Doctor:
    """`tally doctor` as an administrator of the cluster with this environment: what it looked at,
    each with its lines. Its exit code says whether something is missing."""

    def run(**environment: str) -> dict[str, str]:
        usual = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "TALLY_HOME": str(tmp_path),
            "KUBECONFIG": os.environ["KUBECONFIG"], "KFP_NAMESPACE": RUNS, "TALLY_IMAGE": IMAGE,
            "TALLY_STORE": "s3://tally",  # there is no Kubeflow with a store of its own
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "tally", "doctor"],
            env=usual | environment, cwd=PROJECT, capture_output=True, text=True,
        )  # fmt: skip
        lines = done.stdout.splitlines()
        missing = [line for line in lines if line.startswith("missing")]
        assert done.returncode == bool(missing), done.stdout + done.stderr
        found: dict[str, str] = {}
        for line in lines:
            name = line.split(None, 1)[1].partition(":")[0]
            found[name] = "\n".join(filter(None, (found.get(name), line)))
        return found

    return run


@pytest.fixture
def settings(cluster: Cluster, deployed: Deployed, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where the meter and Prometheus are from here."""
    with forwarded("tally-meter", 8080) as meter, forwarded("tally-prometheus", 9090) as prometheus:
        yield settings_of_meter(cluster, meter, tmp_path) | {"TALLY_PROMETHEUS": prometheus}


def test_all_that_is_deployed_is_good(doctor: Doctor, settings: dict[str, str]) -> None:
    found = until_true(lambda: scraped(doctor(**settings)), 40)
    count = len(RIGHTS)
    may = f"{RUNS}/tally-conductor may do all {count} that a conductor does"
    assert found["rights"] == f"ok       rights: {may}"
    assert found["meter's pods"].endswith(" ready")
    assert found["meter"].endswith(" is well")
    assert IMAGE in found["image"]
    assert found["machine types"].startswith("ok       machine types: nodes of e2-standard-2 (")
    bad = {name for name, line in found.items() if not line.startswith("ok ")}
    assert bad <= {"price", "chromium", "store"}, found  # of this machine, and optional


def scraped(found: dict[str, str]) -> dict[str, str]:
    """What doctor found, once Prometheus has asked the meter."""
    return found if found["Prometheus"].startswith("ok ") else {}


@contextlib.contextmanager
def role_without(cluster: Cluster, number: int, resource: str, verb: str) -> Iterator[None]:
    """The Role of the namespace of runs lacks one verb on one kind."""
    rules = copy.deepcopy(_RULES)
    rules[number]["resources"].remove(resource)
    others = [one for one in rules[number]["verbs"] if one != verb]
    if others:
        rules.append({**rules[number], "resources": [resource], "verbs": others})
    if not rules[number]["resources"]:
        del rules[number]
    path = f"{path_of('Role', RUNS)}/tally-gang"
    cluster.request("PATCH", path, {"rules": rules})
    try:
        yield
    finally:
        cluster.request("PATCH", path, {"rules": _RULES})


@pytest.mark.parametrize(
    ("number", "resource", "verb"), RIGHTS, ids=[f"{verb} {what}" for _, what, verb in RIGHTS]
)
def test_each_verb_that_the_role_lacks_is_named(
    cluster: Cluster, deployed: Deployed, number: int, resource: str, verb: str
) -> None:
    group = _RULES[number]["apiGroups"][0]
    lacking = f"{verb} {resource}" + (f".{group}" if group else "")
    with role_without(cluster, number, resource, verb):
        said = until_true(lambda: missing_rights(cluster), 10)
    assert said.startswith(
        f"missing  rights: {RUNS}/tally-conductor may not {lacking}; make deploy OVERLAY=…"
    )
    until_true(lambda: not missing_rights(cluster), 10)


def missing_rights(cluster: Cluster) -> str:
    """doctor's line, "" where all is there; in this process, for the many times."""
    from tally.runs.doctor_kubernetes import rights

    (found,) = rights(cluster, {"KFP_NAMESPACE": RUNS})
    return "" if found.good else found.line()


def test_a_node_pool_that_does_not_exist_is_named(doctor: Doctor, tmp_path: Path) -> None:
    own: dict[str, Any] = {
        "list_price_usd_per_hour": 1.0, "software_usd_per_hour": 0.0, "discount_percent": 0.0,
        "value_of_hour_usd": 1.0, "source": "this test", "date": "2026-11-25",
        "kubernetes": {
            "cpu_cores": 3.5, "memory_gib": 12, "node_selector": {"example.com/pool": "nowhere"},
        },
    }  # fmt: skip
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"machine_types": {"of-nowhere": own}}))
    lines = doctor(TALLY_MACHINES=str(tmp_path / "own.yaml"))["machine types"].splitlines()
    line = lines[-1]
    assert line.startswith("optional  machine types: no node of ")
    assert "of-nowhere" in line
    assert "a run there waits for ever unless a node pool with them scales from zero" in line


def test_a_meter_that_prometheus_may_not_scrape_is_named_and_deploying_again_mends_it(
    doctor: Doctor, deployed: Deployed
) -> None:
    """Its token is one of somebody else's audience."""
    path = "/spec/template/spec/volumes/2/projected/sources/0/serviceAccountToken/audience"
    patch = f'[{{"op": "replace", "path": "{path}", "value": "somebody-else"}}]'
    kubectl("patch", "-n", TALLY, "deployment/tally-prometheus", "--type=json", "-p", patch)
    try:
        kubectl("rollout", "status", "-n", TALLY, "deployment/tally-prometheus", "--timeout=60s")
        with forwarded("tally-prometheus", 9090) as url:
            line = until_true(lambda: unscraped(doctor(TALLY_PROMETHEUS=url)), 40)
        assert "cannot scrape the meter at " in line
        assert "TALLY_METER_READERS" in line
    finally:
        changed = [line for line in deploy("local") if not line.endswith(" unchanged")]
    assert changed == ["deployment.apps/tally-prometheus configured"]
    with forwarded("tally-prometheus", 9090) as url:
        until_true(lambda: scraped(doctor(TALLY_PROMETHEUS=url)), 40)


def unscraped(found: dict[str, str]) -> str:
    line = found["Prometheus"]
    return line if line.startswith("missing") and "cannot scrape" in line else ""


def test_a_namespace_that_is_not_there_is_named(doctor: Doctor) -> None:
    line = doctor(KFP_NAMESPACE="of-nobody")["namespace"]
    assert line.startswith("missing  namespace: of-nobody is not there; set KFP_NAMESPACE")
