"""A gang's pods on a real cluster: started, resized, lost in every way, ended."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from helpers.cluster.objects import (
    apply,
    every,
    kill_from_the_node,
    log_of,
    path_of,
    pod_of,
    until_true,
)
from tally.kube.cluster import Cluster
from tally.kube.manifests import GangSpec, job_name

Make = Callable[..., Any]

LOOK_AROUND = """
import json
def writes(path):
    try: open(path, "w").close()
    except OSError as error: return type(error).__name__, error.errno
    return "written"
print(json.dumps({
    "uid": os.getuid(), "token": open(os.environ["TALLY_TOKEN_FILE"]).read(),
    "account": os.path.exists("/var/run/secrets/kubernetes.io"), "root": writes("/x"),
    "app": writes("/app/x"), "tmp": writes("/tmp/x"), "cache": writes("/cache/x"),
    "shm": writes("/dev/shm/x"), "worker": os.environ["TALLY_WORKER"],
    "host": os.environ["TALLY_HOST"], "life": os.environ["TALLY_UID"],
}), flush=True)
"""


def ended(worker: str, uid: str = "") -> Callable[[Any], bool]:
    return lambda c: c.worker == worker and c.state == "ended" and c.uid in (uid, uid or c.uid)


def test_a_worker_finds_its_place_and_can_do_no_harm(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    import json

    gang, told = gang_of(spec(), template(environment={"DO": LOOK_AROUND}))
    gang.start(2)
    uids = told.until_started("0", "1")
    for worker, uid in uids.items():
        pod = pod_of(cluster, namespace, uid)
        name = pod["metadata"]["name"]
        said = json.loads(until_true(lambda n=name: log_of(cluster, namespace, n), 10))
        assert said == {
            "uid": 65532,
            "token": "a-token-of-the-tests",
            "account": False,
            "root": ["OSError", 30],
            "app": ["OSError", 30],
            "tmp": "written",
            "cache": "written",
            "shm": "written",
            "worker": worker,
            "host": pod["status"]["podIP"],
            "life": uid,
        }


def test_it_grows_and_shrinks_from_the_top_while_the_others_live_on(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    gang, told = gang_of(spec(), template())
    gang.start(2)
    uids = told.until_started("0", "1")
    gang.resize(3)
    uids |= told.until_started("2")
    gang.resize(1)
    told.until(ended("1", uids["1"]), 15)
    told.until(ended("2", uids["2"]), 15)
    told.changes.clear()
    gang.resize(3)
    again = told.until_started("1", "2")
    assert again["1"] != uids["1"]
    assert again["2"] != uids["2"]
    assert pod_of(cluster, namespace, uids["0"])["status"]["phase"] == "Running"


@pytest.mark.parametrize(
    ("how", "cause", "reason"),
    [
        ("delete", "signal", "SIGTERM; its pod was deleted"),
        ("evict", "eviction", "EvictionByEvictionAPI"),
        ("kill", "signal", "SIGKILL"),
    ],
)
def test_a_lost_worker_is_told_of_and_replaced_under_its_name(
    cluster: Cluster,
    namespace: str,
    spec: Make,
    template: Make,
    gang_of: Make,
    how: str,
    cause: str,
    reason: str,
) -> None:
    gang, told = gang_of(spec(), template())
    gang.start(2)
    uids = told.until_started("0", "1")
    pod = pod_of(cluster, namespace, uids["1"])
    path = f"{path_of('Pod', namespace)}/{pod['metadata']['name']}"
    if how == "delete":
        cluster.request("DELETE", path)
    elif how == "evict":
        eviction = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": pod["metadata"]}
        cluster.request("POST", f"{path}/eviction", eviction)
    elif not kill_from_the_node(pod):
        pytest.skip("the cluster's node is another machine")
    change = told.until(ended("1"), 10)
    assert change.cause == cause
    assert reason in change.reason
    assert change.uid == uids["1"]
    new = told.until(lambda c: c.worker == "1" and c.uid != uids["1"] and c.state == "started", 30)
    assert new.uid not in uids.values()
    assert not any(c.state == "ended" and c.worker == "0" for c in told.changes)


def test_a_worker_out_of_memory_is_told_of_with_the_limit(
    spec: Make, template: Make, gang_of: Make
) -> None:
    gang, told = gang_of(spec(), template(environment={"DO": "x = b'x' * (256 << 20)"}))
    gang.start(1)
    change = told.until(ended("0"), 30)
    assert change.cause == "oom"
    assert change.reason == "OOMKilled: it used more memory than its limit of 64Mi"
    assert not change.fatal


def test_a_worker_that_cannot_start_is_told_of_within_15_seconds(
    spec: Make, template: Make, gang_of: Make
) -> None:
    """Of each kind a gang, all at once."""
    waiting = []
    for changes, cause, reason, fatal in (
        ({"image": "localhost/no-such:1"}, "image", "Err", True),
        ({"image": "not a name"}, "image", "InvalidImageName", True),
        ({"secret_environment": {"X": ("none", "key")}}, "image", "CreateContainerConfig", True),
        ({"cpu_cores": 1000.0}, "unschedulable", "Insufficient cpu", False),
        ({"node_selector": {"no": "such"}}, "unschedulable", "node affinity/selector", False),
    ):
        gang, told = gang_of(spec(), template(**changes))
        gang.start(1)
        waiting.append((time.monotonic(), told, cause, reason, fatal))
    for began, told, cause, reason, fatal in waiting:
        change = told.until(lambda c: c.cause, max(0.1, began + 15 - time.monotonic()))
        print(f"told after {time.monotonic() - began:.1f} s: {change.reason}")
        assert (change.state, change.cause, change.fatal) == ("pending", cause, fatal)
        assert reason in change.reason


def test_a_worker_without_even_a_pod_is_told_of(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    quota = {"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}}
    apply(cluster, {"kind": "ResourceQuota", **quota}, namespace)
    path = f"{path_of('ResourceQuota', namespace)}/one"
    until_true(lambda: cluster.request("GET", path).get("status", {}).get("hard"), 10)
    gang, told = gang_of(spec(), template())
    gang.start(2)
    change = told.until(lambda c: c.cause == "unschedulable", 25)
    assert "exceeded quota: one" in change.reason
    assert change.uid == ""


def test_one_worker_that_lost_its_coordinator_ends_the_job_and_none_is_recreated(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    do = "time.sleep(2 if os.environ['TALLY_WORKER'] == '1' else 3600); os._exit(75)"
    gang, told = gang_of(spec(), template(environment={"DO": do}))
    gang.start(3)
    assert told.until(ended("1"), 30).exit_code == 75
    other = told.until(ended("0"), 30)
    told.until(ended("2"), 30)
    assert other.reason.startswith("PodFailurePolicy")
    assert other.fatal

    def failed() -> bool:
        (job,) = every(cluster, "Job", namespace)
        return "Failed" in [condition["type"] for condition in job["status"]["conditions"]]

    until_true(failed, 15)
    assert len(every(cluster, "Pod", namespace)) <= 3


def test_kubernetes_itself_ends_a_gang_at_its_deadline(
    spec: Make, template: Make, gang_of: Make
) -> None:
    gang, told = gang_of(spec(deadline_seconds=5), template())
    gang.start(1)
    change = told.until(ended("0"), 30)
    assert change.fatal
    assert change.reason.startswith("DeadlineExceeded")


def test_one_request_ends_everything(
    cluster: Cluster,
    conductor: Cluster,
    namespace: str,
    spec: Make,
    template: Make,
    gang_of: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gang, told = gang_of(spec(), template())
    gang.start(3)
    told.until_started("0", "1", "2")
    sent = []
    request = conductor.request
    monkeypatch.setattr(
        conductor, "request", lambda *a, **k: (sent.append(a[0]), request(*a, **k))[1]
    )
    began = time.monotonic()
    gang.stop(10)
    seconds = time.monotonic() - began
    print(f"stopped after {seconds:.2f} s")
    assert sent[0] == "DELETE"
    assert sent.count("DELETE") == 1
    assert {c.worker for c in told.changes if c.state == "ended"} == {"0", "1", "2"}
    for kind in ("Job", "Pod", "Secret", "Service", "NetworkPolicy"):
        until_true(lambda k=kind: not every(cluster, k, namespace), 15)
    assert seconds < 8
    gang.stop(1)  # can be repeated


def test_a_second_attempt_ends_the_first_ones_gang_before_it_begins(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    first = spec()
    gang, told = gang_of(first, template())
    gang.start(2)
    uids = set(told.until_started("0", "1").values())
    second = GangSpec(**{**first.__dict__, "attempt": 2})
    gang, told = gang_of(second, template())
    gang.start(2)
    again = set(told.until_started("0", "1").values())
    assert not uids & again
    living = {pod["metadata"]["uid"] for pod in every(cluster, "Pod", namespace)}
    assert living == again
    (job,) = every(cluster, "Job", namespace)
    assert job["metadata"]["labels"]["tally.dev/attempt"] == "2"


def test_a_second_job_stands_beside_the_first_until_the_move_is_finished(
    cluster: Cluster, namespace: str, spec: Make, template: Make, gang_of: Make
) -> None:
    made = spec()
    gang, told = gang_of(made, template())
    gang.start(2)
    uids = told.until_started("0", "1")
    gang.begin_move(template(cpu_cores=0.2), 2)
    new = told.until_started("1.0", "1.1")
    assert not [c for c in told.changes if c.state == "ended"]
    asked = pod_of(cluster, namespace, new["1.0"])["spec"]["containers"][0]["resources"]
    assert asked["requests"]["cpu"] == "200m"
    gang.finish_move()
    told.until(ended("0", uids["0"]), 15)
    told.until(ended("1", uids["1"]), 15)
    gang.resize(1)
    told.until(ended("1.1", new["1.1"]), 15)
    until_true(lambda: len(every(cluster, "Job", namespace)) == 1, 15)
    (job,) = every(cluster, "Job", namespace)
    assert job["metadata"]["name"] == job_name(made, 1)
    (secret,) = every(cluster, "Secret", namespace)
    assert secret["metadata"]["name"] == job_name(made, 1)
    assert pod_of(cluster, namespace, new["1.0"])["status"]["phase"] == "Running"


def test_a_worker_that_does_not_end_by_itself_is_ended(
    spec: Make, template: Make, gang_of: Make
) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    gang, told = gang_of(spec(), template(environment={"DO": deaf}))
    gang.start(1)
    uid = told.until_started("0")["0"]
    gang.end("0", "another-life")
    gang.end("0", uid)
    change = told.until(ended("0", uid), 10)
    assert change.exit_code == 137
