"""The compiled IR of every pipeline: what each step has; the same source is the same bytes."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig

from tally.errors import SpecError
from tally.runs import pipelines
from tally.runs.compiled import Compiled, compile_for_cluster
from tally.runs.placement import placement

PROJECT = Path(__file__).parents[2]
ALL = [*pipelines.names(), str(PROJECT / "examples" / "mine.py")]
STEPS = ("prepare", "plan", "train", "evaluate", "bill")
HOURS = {"train": 7 * 24, "plan": 0.25, "bill": 0.25}  # the others: 6
CORES = {"train": 0.5, "plan": 0.25, "bill": 0.1}  # a conductor's workers have pods of their own
DIGEST = f"registry.example/team/tally@sha256:{'0' * 63}1"


def executors(made: Compiled) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Containers, Kubernetes settings and tasks, by step."""
    ir, platform = yaml.safe_load_all(made.ir)
    dags = [ir["root"]["dag"], *(c["dag"] for c in ir["components"].values() if "dag" in c)]
    tasks = {name: task for dag in dags for name, task in dag["tasks"].items()}
    labels = {name: ir["components"][f"comp-{name}"]["executorLabel"] for name in STEPS}
    containers = {n: ir["deploymentSpec"]["executors"][labels[n]]["container"] for n in STEPS}
    there = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(there) == set(labels.values()) == set(ir["deploymentSpec"]["executors"])
    return containers, {name: there[labels[name]] for name in STEPS}, tasks


def environment_of(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


@pytest.fixture(scope="module", params=ALL, ids=lambda name: Path(name).stem)
def made(request: pytest.FixtureRequest) -> Compiled:
    return compile_for_cluster(request.param, {}, {"TALLY_IMAGE": DIGEST})


def pods_of(ir: dict[str, Any], dag: dict[str, Any]) -> tuple[int, int]:
    """Drivers and executors that Kubeflow makes of a DAG: a driver for it and for each task."""
    drivers, executors = 1, 0
    for task in dag["tasks"].values():
        component = ir["components"][task["componentRef"]["name"]]
        more = pods_of(ir, component["dag"]) if "dag" in component else (1, 1)
        drivers, executors = drivers + more[0], executors + more[1]
    return drivers, executors


def test_a_run_is_no_more_pods_than_its_steps_and_a_bill_at_every_end_need(made: Compiled) -> None:
    ir = next(yaml.safe_load_all(made.ir))
    assert pods_of(ir, ir["root"]["dag"]) == (len(STEPS) + 2, len(STEPS))  # README's 12 and seven


@pytest.mark.parametrize("step", STEPS)
def test_every_step_has_limits_labels_a_timeout_retries_no_cache_and_no_root(
    made: Compiled, step: str
) -> None:
    containers, settings, tasks = executors(made)
    resources = containers[step]["resources"]
    for name in ("CpuRequest", "CpuLimit", "MemoryRequest", "MemoryLimit"):
        given = resources[f"resource{name}"]
        assert isinstance(given, str) and given, name
    assert resources["cpuRequest"] <= resources["cpuLimit"]
    assert resources["memoryRequest"] <= resources["memoryLimit"]
    assert resources["cpuRequest"] == CORES.get(step, 0.5)
    message = json_format.ParseDict(settings[step], KubernetesExecutorConfig())
    assert message.active_deadline_seconds == 3600 * HOURS.get(step, 6)
    assert message.security_context.run_as_user == 65532
    assert message.security_context.run_as_non_root
    labels = dict(message.pod_metadata.labels)
    assert labels.pop("tally.dev/conductor", "") == ("train" if step == "train" else "")
    assert labels == {"tally.dev/pipeline": made.name, "tally.dev/step": step}
    assert "retryPolicy" not in tasks[step]  # the deployment's own retries what was lost
    assert tasks[step]["cachingOptions"] == {}  # enableCache is left out where it is false


@pytest.mark.parametrize("step", STEPS)
def test_every_step_knows_its_run_its_pod_and_its_store(made: Compiled, step: str) -> None:
    containers, settings, _ = executors(made)
    fields = {entry["name"]: entry["fieldPath"] for entry in settings[step]["fieldPathAsEnv"]}
    assert fields == {
        "TALLY_RUN_ID": "metadata.labels['pipeline/runid']",
        "TALLY_POD": "metadata.name",
        "TALLY_POD_UID": "metadata.uid",
        "TALLY_HOST": "status.podIP",
        "TALLY_ARGO_NODE": "metadata.annotations['workflows.argoproj.io/node-name']",
    }
    (secret,) = settings[step]["secretAsEnv"]
    assert secret["secretName"] == "mlpipeline-minio-artifact"
    assert {entry["envVar"]: entry["secretKey"] for entry in secret["keyToEnv"]} == {
        "AWS_ACCESS_KEY_ID": "accesskey",
        "AWS_SECRET_ACCESS_KEY": "secretkey",
    }
    environment = environment_of(containers[step])
    assert environment["TALLY_STORE"] == "s3://mlpipeline/tally"
    # Kubeflow 2.17 has no minio-service any more: each step finds out which of them is there
    assert environment["TALLY_STORE_ENDPOINTS"].split() == [
        "http://seaweedfs.kubeflow:8333",
        "http://minio-service.kubeflow:9000",
    ]
    assert "AWS_ENDPOINT_URL" not in environment
    assert environment["TALLY_PIPELINE"] == made.name
    assert len(environment["TALLY_EXPECTED_CONTENT"]) == 16
    assert containers[step]["image"] == DIGEST


@pytest.mark.parametrize("step", STEPS)
def test_only_the_conductor_has_what_a_gang_asks_for_where_the_cluster_has_it(
    made: Compiled, step: str
) -> None:
    containers, settings, _ = executors(made)
    there = settings[step]
    message = json_format.ParseDict(there, KubernetesExecutorConfig())
    machines = environment_of(containers[step]).get("TALLY_MACHINES")
    if step not in ("plan", "train"):  # who chooses a machine type, and who asks for it
        assert machines is None and not message.config_map_as_volume
    if step != "train":
        assert not message.config_map_as_env
    if machines is None:
        return
    (volume,) = message.config_map_as_volume
    if step == "train":
        (queue,) = message.config_map_as_env
        assert (queue.config_map_name, queue.optional) == ("tally", True)
        assert [(k.config_map_key, k.env_var) for k in queue.key_to_env] == [("TALLY_QUEUE",) * 2]
    assert (volume.config_map_name, volume.optional) == ("tally-machines", True)
    assert volume.mount_path == machines == "/etc/tally/machines"


def test_nothing_is_installed_in_a_pod(made: Compiled) -> None:
    for container in executors(made)[0].values():
        assert "pip install" not in " ".join([*container["command"], *container["args"]])


def test_the_bill_is_the_exit_handler_whatever_became_of_the_run(made: Compiled) -> None:
    _, _, tasks = executors(made)
    assert tasks["bill"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert tasks["bill"]["dependentTasks"] == ["exit-handler-1"]
    assert set(tasks) == {*STEPS, "exit-handler-1"}


def test_no_resource_is_a_parameter_and_none_has_a_name_of_kfps_own(made: Compiled) -> None:
    ir, _ = yaml.safe_load_all(made.ir)
    names = set(ir["root"]["inputDefinitions"]["parameters"])
    assert not names & {"cpu_limit", "memory_limit", "accelerator_type", "accelerator_count"}


COMPILE = """
import hashlib, sys
from tally.runs.compiled import compile_for_cluster
for name in sys.argv[1:]:
    print(hashlib.sha256(compile_for_cluster(name, {}, {}).ir).hexdigest())
"""


def test_the_same_source_compiles_to_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", COMPILE, *ALL],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
        ).stdout.split()
        for folder, seed, zone in ((PROJECT, "0", "UTC"), (tmp_path, "12345", "Asia/Tokyo"))
    ]
    assert said[0] == said[1]
    assert said[0] == [hashlib.sha256(compile_for_cluster(n, {}, {}).ir).hexdigest() for n in ALL]
    assert len(set(said[0])) == len(ALL)


def test_whatever_changes_what_runs_changes_the_content() -> None:
    plain = compile_for_cluster("cnn", {}, {})
    assert compile_for_cluster("cnn", {}, {"TALLY_IMAGE": DIGEST}).content != plain.content
    # the parameters of one run do not: they are given to it
    assert compile_for_cluster("cnn", {"epochs": "9"}, {}).content == plain.content
    assert compile_for_cluster("cnn", {"epochs": "9"}, {}).arguments["epochs"] == 9


def test_settings_reach_every_step(tmp_path: Path) -> None:
    made = compile_for_cluster(
        "cnn",
        {},
        {
            "TALLY_STORE": "s3://ours/tally",
            "AWS_ENDPOINT_URL": "https://objects.example:9000",
            "TALLY_STORE_SECRET": "objects",
            "TALLY_IMAGE_PULL_SECRET": "one, two",
            "TALLY_POD_METER_URL": "http://tally-meter.tally.svc:8080",
            "AWS_SECRET_ACCESS_KEY": "kept-here",
            "TALLY_METER_URL": "http://localhost:8080",
        },
    )
    assert b"kept-here" not in made.ir and b"localhost" not in made.ir
    containers, settings, _ = executors(made)
    for step in STEPS:
        environment = environment_of(containers[step])
        assert environment["TALLY_STORE"] == "s3://ours/tally"
        assert environment["AWS_ENDPOINT_URL"] == "https://objects.example:9000"
        assert environment["TALLY_METER_URL"] == "http://tally-meter.tally.svc:8080"
        assert "TALLY_METER_TOKEN_FILE" not in environment  # nothing would mount one
        assert settings[step]["secretAsEnv"][0]["secretName"] == "objects"
        pulled = [entry["secretName"] for entry in settings[step]["imagePullSecret"]]
        assert pulled == ["one", "two"]


def test_an_endpoint_without_a_store_is_that_of_kubeflows_own_bucket() -> None:
    placed = placement({"AWS_ENDPOINT_URL": "http://objects.kubeflow:80", "AWS_REGION": "eu"})
    assert placed.environment == {
        "TALLY_STORE": "s3://mlpipeline/tally",
        "AWS_ENDPOINT_URL": "http://objects.kubeflow:80",
        "AWS_REGION": "eu",
    }
    assert placed.store_secret == "mlpipeline-minio-artifact"
    with pytest.raises(SpecError, match="AWS_ENDPOINT_URL: expected an address"):
        placement({"AWS_ENDPOINT_URL": "objects:80"})


def test_a_store_of_ones_own_has_no_candidates() -> None:
    assert placement({"TALLY_STORE": "s3://ours"}).environment == {"TALLY_STORE": "s3://ours"}


def test_a_store_on_a_volume_is_mounted_into_every_step() -> None:
    made = compile_for_cluster(
        "cnn",
        {"dataset": "/store/pictures"},
        {"TALLY_STORE": "/store", "TALLY_STORE_CLAIM": "tally-store"},
    )
    for settings in executors(made)[1].values():
        (mount,) = settings["pvcMount"]
        assert (mount["mountPath"], mount["constant"]) == ("/store", "tally-store")
        assert "secretAsEnv" not in settings


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param({"TALLY_IMAGE": "a b"}, "TALLY_IMAGE: expected registry/name", id="image"),
        pytest.param({"TALLY_IMAGE": "r/t@sha256:12"}, "TALLY_IMAGE: expected", id="digest"),
        pytest.param({"TALLY_STORE": "/here"}, "TALLY_STORE: .*TALLY_STORE_CLAIM", id="no claim"),
        pytest.param({"TALLY_STORE": "ftp://x/y"}, "TALLY_STORE: ftp://x/y: expected", id="ftp"),
        pytest.param({"TALLY_STORE": "s3://k:s@b/x"}, "without credentials", id="key in the store"),
        pytest.param(
            {"TALLY_STORE": "s3://b", "AWS_ENDPOINT_URL": "http://k:s@objects:9"},
            "AWS_ENDPOINT_URL: .*without credentials, got one with a user",
            id="key in the endpoint",
        ),
        pytest.param({"TALLY_POD_METER_URL": "meter"}, "TALLY_POD_METER_URL: expected", id="meter"),
        pytest.param(
            {"TALLY_IMAGE_PULL_SECRET": "A!"}, "PULL_SECRET: expected the name", id="pull"
        ),
        pytest.param(
            {"TALLY_STORE": "gs://bucket", "TALLY_STORE_CLAIM": "c"},
            "CLAIM: expected none",
            id="both",
        ),
    ],
)
def test_a_setting_that_cannot_be_right_is_refused_in_a_line(
    environment: dict[str, str], message: str
) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        placement(environment)
    assert "\n" not in str(caught.value) and "k:s" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"dataset": "data/x.csv"}, "dataset: expected one that pods reach", id="path"),
        pytest.param({"model": "resnet"}, "model: expected one of", id="model"),
        pytest.param({"machine_type": "local"}, "machine type: expected one with", id="local"),
        pytest.param({"machine_type": "x9"}, "x9", id="machine type"),
        pytest.param({"epochs": "0"}, "epochs must be a whole number, 1", id="parameter"),
    ],
)
def test_what_cannot_run_on_a_cluster_is_refused_before_anything_is_made(
    settings: dict[str, str], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        compile_for_cluster("cnn", settings, {})
