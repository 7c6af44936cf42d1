"""What a pipeline's source says of a step stays, on a cluster; here it means nothing."""

from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp import dsl, kubernetes, local
from test_compiled import DIGEST

from tally.errors import SpecError
from tally.runs import pipelines
from tally.runs.compiled import for_cluster
from tally.runs.placement import Placement


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def say(text: str) -> str:
    return text


def test_what_a_source_sets_stays_and_the_local_runner_runs_it(tmp_path: Path) -> None:
    @dsl.pipeline(name="own")
    def own(text: str = "here"):
        asked = say(text=text).set_cpu_request("4").set_retry(7).set_container_image("own/python")
        kubernetes.add_node_selector(asked, "pool", "large")
        kubernetes.add_toleration(asked, key="dedicated", operator="Exists", effect="NoSchedule")
        kubernetes.set_timeout(asked, 60)
        kubernetes.add_pod_label(asked, "team", "a")

    there = for_cluster(own, Placement(environment={"A": "1"}, image=DIGEST))
    container = there.pipeline_spec.deployment_spec["executors"]["exec-say"]["container"]
    assert container["image"] == "own/python"
    resources = container["resources"]
    assert (resources["resourceCpuRequest"], resources["resourceCpuLimit"]) == ("4", "4")
    assert resources["resourceMemoryLimit"] == "2Gi"
    assert container["env"] == [
        {"name": "A", "value": "1"},
        {"name": "TALLY_PIPELINE", "value": "own"},
    ]
    assert there.pipeline_spec.root.dag.tasks["say"].retry_policy.max_retry_count == 7
    platform = json_format.MessageToDict(there.platform_spec)["platforms"]["kubernetes"]
    settings = platform["deploymentSpec"]["executors"]["exec-say"]
    assert settings["nodeSelector"] == {"labels": {"pool": "large"}}
    assert settings["tolerations"][0]["key"] == "dedicated"
    assert settings["activeDeadlineSeconds"] == "60"
    assert settings["podMetadata"]["labels"]["team"] == "a"
    assert settings["securityContext"]["runAsNonRoot"] is True

    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))
    own()  # raises where the runner refuses a setting


def test_a_chain_says_where_a_step_runs() -> None:
    pipelines.load("cnn")
    from components.chain import chain
    from components.place import Place

    place = Place(
        cpu="8", memory="32Gi", node_selector={"pool": "large"},
        tolerations=({"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"},),
    )  # fmt: skip
    pipeline = chain("placed", "A pipeline.", places={"evaluate": place})
    there = for_cluster(pipeline, Placement())
    containers = there.pipeline_spec.deployment_spec["executors"]
    evaluate = containers["exec-evaluate"]["container"]["resources"]
    assert (evaluate["resourceCpuLimit"], evaluate["resourceMemoryRequest"]) == ("8", "32Gi")
    assert containers["exec-prepare"]["container"]["resources"]["resourceCpuLimit"] == "2"
    platform = json_format.MessageToDict(there.platform_spec)["platforms"]["kubernetes"]
    settings = platform["deploymentSpec"]["executors"]
    assert settings["exec-evaluate"]["nodeSelector"]["labels"] == {"pool": "large"}
    assert "nodeSelector" not in settings["exec-train"]
    with pytest.raises(SpecError, match="expected text, got 8"):
        Place(cpu=8)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="places of prepare, plan, train, evaluate, bill, got tain"):
        chain("placed", "A pipeline.", places={"tain": place})
