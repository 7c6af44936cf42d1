"""A gang's objects: what they ask for, what they allow, whose they are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tally.errors import SpecError
from tally.kube.manifests import GangSpec, gang_name, gang_objects, job_name, labels
from tally.kube.template import Volume, WorkerTemplate, moved, worker_template
from tally.machines.catalogue import machine
from tally.machines.shape import Gpu, KubernetesShape, Tpu

RUN = "0191f0a0-1234-7000-8000-0123456789ab"
TOKEN = b"5e7f-very-secret"


def spec(**changes: Any) -> GangSpec:
    usual: dict[str, Any] = {
        "run_id": RUN,
        "step": "train",
        "pipeline": "path/to/my own.py",
        "team": "team-a",
        "attempt": 2,
        "namespace": "team-a",
        "coordinator": "10.1.2.3:7070",
        "deadline_seconds": 3600,
    }
    return GangSpec(**{**usual, **changes})


def template(**changes: Any) -> WorkerTemplate:
    return WorkerTemplate(
        **{"image": "localhost/tally:1", "cpu_cores": 1.5, "memory_bytes": 2 << 30, **changes}
    )


def pod_of(objects: Any) -> dict[str, Any]:
    return dict(objects.job["spec"]["template"]["spec"])


def test_another_machine_type_changes_what_is_asked_for_and_nothing_else() -> None:
    store = Volume(name="store", path="/store", source={"emptyDir": {}})
    before = template(volumes=(store,), environment={"A": "b"}, node_selector={"old": "yes"})
    after = moved(before, machine("g2-standard-4"))
    assert after.accelerator == Gpu(type="nvidia-l4", count=1)
    assert after.cpu_cores == 3.5
    assert dict(after.node_selector) == {}
    assert (after.image, after.volumes, after.environment) == (
        before.image, before.volumes, before.environment,
    )  # fmt: skip
    with pytest.raises(SpecError, match="`kubernetes` block"):
        moved(before, machine("local"))


def test_what_past_workers_needed_is_asked_for_and_more_may_be_used() -> None:
    sized = template(cpu_request_cores=0.6, memory_request_bytes=832 << 20)
    (container,) = pod_of(gang_objects(spec(), sized, TOKEN, 1))["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "600m", "memory": "832Mi"},
        "limits": {"cpu": "1500m", "memory": "2048Mi"},
    }
    after = moved(sized, machine("g2-standard-4"))
    asked = pod_of(gang_objects(spec(), after, TOKEN, 1))["containers"][0]["resources"]
    assert asked["requests"] == asked["limits"]


def test_only_the_secret_has_the_token() -> None:
    objects = gang_objects(spec(), template(), TOKEN, 2)
    parts = {part["kind"]: part for _, part in objects.parts}
    assert parts["Secret"]["stringData"] == {"token": TOKEN.decode()}
    others = [objects.job, parts["Service"], parts["NetworkPolicy"], labels(spec())]
    assert TOKEN.decode() not in json.dumps(others)


def test_the_job_says_when_it_ends_and_what_counts_as_a_failure() -> None:
    job = gang_objects(spec(), template(), TOKEN, 3).job["spec"]
    assert (job["parallelism"], job["completions"], job["completionMode"]) == (3, 3, "Indexed")
    assert job["activeDeadlineSeconds"] == 3600
    assert job["backoffLimitPerIndex"] == 2**31 - 1
    orphaned, disrupted = job["podFailurePolicy"]["rules"]
    assert orphaned["action"] == "FailJob"
    assert orphaned["onExitCodes"]["values"] == [75]
    assert disrupted["action"] == "Ignore"
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["suspend"] is True


def test_a_pod_has_no_rights_and_nowhere_to_write_but_its_own_folders() -> None:
    pod = pod_of(gang_objects(spec(), template(), TOKEN, 1))
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m["readOnly"]}
    assert writable == {"/tmp", "/dev/shm", "/cache"}
    assert {v["name"] for v in pod["volumes"]} == {m["name"] for m in container["volumeMounts"]}
    resources = container["resources"]
    assert resources["requests"] == resources["limits"] == {"cpu": "1500m", "memory": "2048Mi"}


def test_every_pod_says_whose_it_is_and_labels_are_labels() -> None:
    objects = gang_objects(spec(), template(), TOKEN, 1, move=1)
    found = objects.job["spec"]["template"]["metadata"]["labels"]
    assert found["pipeline/runid"] == found["tally.dev/run"] == RUN
    assert found["tally.dev/pipeline"] == "path-to-my-own.py"
    assert found["tally.dev/worker"] == job_name(spec(), 1) == objects.job["metadata"]["name"]
    for value in found.values():
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value)


@pytest.mark.parametrize("run_id", [RUN, "a", "X_y" * 40, RUN * 2])
@pytest.mark.parametrize("step", ["train", "train-" * 9])
def test_a_workers_host_name_fits(run_id: str, step: str) -> None:
    name = job_name(spec(run_id=run_id, step=step), 99)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(f"{name}-255") <= 63
    assert gang_name(run_id, step) == gang_name(run_id, step)


def test_long_run_ids_that_differ_at_the_end_have_different_gangs() -> None:
    assert gang_name("r" * 60 + "1", "train") != gang_name("r" * 60 + "2", "train")


def test_a_gpu_worker_asks_for_its_type_and_tolerates_its_taint() -> None:
    pod = pod_of(gang_objects(spec(), worker_template(machine("g2-standard-4"), "i"), TOKEN, 1))
    assert pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    taints = [t["key"] for t in pod["tolerations"] if t["effect"] == "NoSchedule"]
    assert taints == ["nvidia.com/gpu"]


def test_a_tpu_worker_has_a_whole_slice() -> None:
    pod = pod_of(gang_objects(spec(), worker_template(machine("ct5lp-hightpu-8t"), "i"), TOKEN, 1))
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "2x4",
    }
    assert pod["containers"][0]["resources"]["limits"]["google.com/tpu"] == "8"


def test_a_cpu_worker_tolerates_no_accelerators_taint() -> None:
    pod = pod_of(gang_objects(spec(), worker_template(machine("n2-standard-4"), "i"), TOKEN, 1))
    assert pod["nodeSelector"] == {"node.kubernetes.io/instance-type": "n2-standard-4"}
    assert not [t for t in pod["tolerations"] if t["effect"] == "NoSchedule"]


def test_a_machine_type_that_is_no_node_is_refused() -> None:
    with pytest.raises(SpecError, match=r"`kubernetes` block.*got local"):
        worker_template(machine("local"), "i")


@pytest.mark.parametrize(
    "shape",
    [
        {"cpu_cores": 0, "memory_gib": 1},
        {"cpu_cores": 1, "memory_gib": 1, "tpu": {"type": "t", "topology": "2x4", "count": 4}},
        {"cpu_cores": 1, "memory_gib": 1, "tpu": {"type": "t", "topology": "8", "count": 8}},
        {"cpu_cores": 1, "memory_gib": 1, "gpu": {"type": "g", "count": 1},
         "tpu": {"type": "t", "topology": "2x2", "count": 4}},
    ],
)  # fmt: skip
def test_a_shape_that_cannot_be_is_refused(shape: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        KubernetesShape.model_validate(shape)


def test_accelerators_are_told_apart() -> None:
    gpu = pod_of(gang_objects(spec(), template(accelerator=Gpu(type="a", count=2)), TOKEN, 1))
    chips = Tpu(type="b", topology="1x1", count=1)
    tpu = pod_of(gang_objects(spec(), template(accelerator=chips), TOKEN, 1))
    assert "google.com/tpu" not in json.dumps(gpu)
    assert "nvidia.com/gpu" not in json.dumps(tpu)


def test_the_stores_credentials_are_referred_to_and_never_copied() -> None:
    made = template(
        environment={"TALLY_STORE": "s3://bucket"},
        secret_environment={"AWS_SECRET_ACCESS_KEY": ("mlpipeline-minio-artifact", "secretkey")},
        volumes=(Volume(name="keys", path="/keys", source={"secret": {"secretName": "gcs"}},
                        read_only=True),),
    )  # fmt: skip
    pod = pod_of(gang_objects(spec(), made, TOKEN, 1))
    env = {entry["name"]: entry for entry in pod["containers"][0]["env"]}
    assert env["TALLY_STORE"]["value"] == "s3://bucket"
    assert env["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"] == {
        "name": "mlpipeline-minio-artifact",
        "key": "secretkey",
    }
    assert {"name": "keys", "secret": {"secretName": "gcs"}} in pod["volumes"]


def test_the_policy_lets_nobody_in_but_the_gang_and_out_to_what_it_needs() -> None:
    objects = gang_objects(spec(store_ports=(9000,)), template(), TOKEN, 1)
    policy = dict(objects.parts)["apis/networking.k8s.io/v1/{}/networkpolicies"]["spec"]
    gang = {"podSelector": {"matchLabels": {"tally.dev/gang": spec().name}}}
    assert policy["podSelector"] == gang["podSelector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    own, scraped = policy["ingress"]
    assert own == {"from": [gang]}
    (scraper,) = scraped["from"]
    assert scraper["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
    (worker,) = pod_of(objects)["containers"]
    assert [p["containerPort"] for p in worker["ports"]] == [p["port"] for p in scraped["ports"]]
    open_to_all = [rule for rule in policy["egress"] if "to" not in rule]
    ports = {entry["port"] for rule in open_to_all for entry in rule["ports"]}
    assert ports == {53, 9000}
    assert [r["ports"][0]["port"] for r in policy["egress"] if "runid" in json.dumps(r)] == [7070]


def test_pods_wait_for_a_meter_only_where_there_is_one() -> None:
    def meta(metered: bool) -> Any:
        job = gang_objects(spec(metered=metered), template(), TOKEN, 1).job
        return job["spec"]["template"]["metadata"]

    assert meta(True)["finalizers"] == ["tally.dev/metered"]
    assert "finalizers" not in meta(False)


def test_in_a_queue_the_job_waits_for_kueue_and_can_be_resized_there() -> None:
    job = gang_objects(spec(queue="team-a"), template(), TOKEN, 2).job
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert job["metadata"]["annotations"] == {"kueue.x-k8s.io/elastic-job": "true"}
    assert job["spec"]["suspend"] is True
    # a pod with the label would be queued once more, by itself
    assert "kueue" not in json.dumps(job["spec"]["template"])


def test_without_a_queue_nothing_is_said_of_one() -> None:
    queued, plain = (gang_objects(spec(queue=name), template(), TOKEN, 2) for name in ("q", ""))
    assert "kueue" not in json.dumps([plain.job, plain.parts])
    assert queued.job["spec"] == plain.job["spec"] and queued.parts == plain.parts


def test_the_gang_goes_with_its_owner() -> None:
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u"}
    job = gang_objects(spec(owner=owner), template(), TOKEN, 1).job
    assert job["metadata"]["ownerReferences"] == [owner]
    assert "ownerReferences" not in gang_objects(spec(), template(), TOKEN, 1).job["metadata"]


def test_the_role_has_no_wildcard_and_cannot_read_a_secret() -> None:
    text = (Path(__file__).parents[2] / "manifests/gang-rbac.yaml").read_text()
    (role,) = (item for item in yaml.safe_load_all(text) if item["kind"] == "Role")
    for rule in role["rules"]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        if "secrets" in rule["resources"]:
            assert rule["verbs"] == ["create"]
