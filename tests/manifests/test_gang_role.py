"""The conductor's Role has each verb that steps and their gang ask for, and none besides."""

import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.built_manifests import MANIFESTS
from helpers.kube.account_tokens import account_token
from tally.kube.cluster import Cluster
from tally.kube.following import follow
from tally.kube.former import delete_pod, let_go
from tally.kube.gang import KubernetesGang
from tally.kube.inside import own_pod
from tally.kube.manifests import GangSpec
from tally.kube.metertoken import RequestedToken
from tally.kube.template import WorkerTemplate

_PATH = re.compile(
    r"(?:api|apis/(?P<group>[^/]+))/v1/namespaces/[^/]+/"
    r"(?P<kind>[^/]+)(?P<one>/[^/]+(?P<below>/.+)?)?$"
)
_OF_ONE = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "GET": "get"}
_OF_MANY = {**_OF_ONE, "DELETE": "deletecollection", "GET": "list"}
POD = {"metadata": {"name": "w", "namespace": "n", "uid": "u", "resourceVersion": "1",
                    "finalizers": ["tally.dev/metered"],
                    "labels": {"tally.dev/worker": "tally-r-train"}}}  # fmt: skip
Rights = set[tuple[str, str, str]]


class Recorder(Cluster):
    """In place of an API server: it allows everything, remembers it, and has no Job and no pod."""

    def __init__(self) -> None:
        self.asked: Rights = set()
        self.bodies: list[Any] = []

    def request(self, method: str, path: str, body: Any = None, **others: Any) -> dict[str, Any]:
        one = self._remember(path, method, _OF_ONE, _OF_MANY)
        self.bodies.append(body)
        if path.endswith("/token"):
            return {"spec": {"expirationSeconds": 3600}, "status": {"token": "t"}}
        if method == "POST":
            return {"metadata": {**body["metadata"], "uid": "j"}}
        return POD if one else {"items": [], "metadata": {"resourceVersion": "1"}}

    def watch(
        self, path: str, query: Mapping[str, str], *, seconds: int
    ) -> Iterator[tuple[str, Any]]:
        self._remember(path, "WATCH", {}, {"WATCH": "watch"})
        yield "ADDED", POD

    def _remember(
        self, path: str, method: str, of_one: Mapping[str, str], of_many: Mapping[str, str]
    ) -> bool:
        found = _PATH.match(path)
        assert found, path
        verb = (of_one if found["one"] else of_many)[method]
        kind = found["kind"] + (found["below"] or "")
        self.asked.add((found["group"] or "", kind, verb))
        return bool(found["one"])


def rights() -> Rights:
    text = (MANIFESTS / "gang-rbac.yaml").read_text()
    (rules,) = (item["rules"] for item in yaml.safe_load_all(text) if item["kind"] == "Role")
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def gang_spec(**changes: Any) -> GangSpec:
    return GangSpec(
        run_id="r", step="train", pipeline="cnn", team="n", attempt=2, namespace="n",
        coordinator="192.0.2.1:7000", deadline_seconds=60, **changes,
    )  # fmt: skip


@pytest.mark.parametrize("queue", ["", "team-a"])
def test_who_lets_a_gang_run_is_its_queue_where_there_is_one(queue: str) -> None:
    cluster = Recorder()
    template = WorkerTemplate(image="i", cpu_cores=1, memory_bytes=1 << 30)
    KubernetesGang(cluster, gang_spec(queue=queue), template, b"t").start(1)
    assert ({"spec": {"suspend": False}} in cluster.bodies) is (queue == "")


def test_the_role_has_each_verb_that_steps_and_a_gang_ask_for_and_none_besides(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TALLY_POD", "conductor")
    cluster = Recorder()
    spec, template = gang_spec(), WorkerTemplate(image="i", cpu_cores=1, memory_bytes=1 << 30)
    own_pod(cluster)
    gang = KubernetesGang(cluster, spec, template, b"t")
    gang.start(2)
    gang.resize(3)
    gang.begin_move(template, 2)
    gang.finish_move()
    gang._failure(POD)
    gang._missing(frozenset())
    stopped = threading.Event()
    follow(cluster, gang._pods, gang._selector, lambda pod, gone: stopped.set(), stopped)
    delete_pod(cluster, gang._pods, POD, seconds=1)
    let_go(cluster, POD)
    RequestedToken(account_token(tmp_path, "n", "tally-conductor"), lambda: cluster)()
    gang.stop(0)
    assert cluster.asked == rights()
