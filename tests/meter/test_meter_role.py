"""The meter's ClusterRole has each verb that the meter asks for, and none besides."""

import urllib.request
from pathlib import Path

import pytest
import yaml
from test_service import Process, api, ended_run, held_pod, meter, until

from helpers.meter.standin import ApiStandIn

__all__ = ["api", "meter"]  # fixtures
ACCOUNT = Path(__file__).parents[2] / "manifests/base/meter/account.yaml"
# the kubelet asks for it, by its own SubjectAccessReview of resource nodes, subresource metrics
OF_KUBELETS = {("", "nodes/metrics", "get")}


def rights() -> set[tuple[str, str, str]]:
    objects = yaml.safe_load_all(ACCOUNT.read_text())
    (rules,) = (item["rules"] for item in objects if item["kind"] == "ClusterRole")
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.slow
def test_the_role_has_each_verb_that_the_meter_asks_for_and_none_besides(
    api: ApiStandIn, meter: Process
) -> None:
    until(lambda: meter.health()[0] == 200)
    run_id = ended_run(api)
    api.put("pods", held_pod(), "ADDED")
    until(lambda: meter.run(run_id) and api.patches and api.deletions)
    url = f"http://127.0.0.1:{meter.port}/v1/runs/{run_id}/bill"
    asked = urllib.request.Request(url, headers={"Authorization": "Bearer a.b.c"})
    with urllib.request.urlopen(asked, timeout=10) as said:
        assert said.status == 200
    assert api.rights | OF_KUBELETS == rights()
