"""Pods are followed through cut connections, expired versions and refusals; nothing is lost."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from helpers.kube.recorded import recorded
from tally.gang.gang import WorkerChange
from tally.kube.cluster import Cluster, Refused
from tally.kube.following import follow
from tally.kube.telling import Teller


def named(uid: str, version: str = "1") -> dict[str, Any]:
    pod = recorded("running")
    pod["metadata"] |= {"uid": uid, "name": uid, "resourceVersion": version}
    return pod


class Script:
    """What an API server answers, one after another: lists and watches each in their order."""

    def __init__(self) -> None:
        self.lists: list[Any] = []
        self.watches: list[Any] = []
        self.asked: list[str] = []
        self.over = threading.Event()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def cluster(script: Script, tmp_path: Path) -> Iterator[Cluster]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlparse(self.path).query)
            watching = "watch" in query
            script.asked.append(query["resourceVersion"][0] if watching else "list")
            answers = script.watches if watching else script.lists
            if not answers:
                script.over.set()
                answers = [200, []] if watching else [[200, {}]]
                status, body = 503, {}
            else:
                status, body = answers.pop(0)
            self.send_response(status)
            self.end_headers()
            lines = body if watching and status == 200 else [body]
            for line in lines:
                text = line if isinstance(line, str) else json.dumps(line) + "\n"
                self.wfile.write(text.encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = tmp_path / "kubeconfig"
    address = f"http://127.0.0.1:{server.server_port}"
    config.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": address}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    yield Cluster(str(config))
    server.shutdown()
    server.server_close()


def listed(version: str, *pods: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"metadata": {"resourceVersion": version}, "items": list(pods)}


def event(kind: str, pod: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": pod}


def run(cluster: Cluster, script: Script) -> list[tuple[str, bool]]:
    """What was seen until the script was at its end."""
    seen: list[tuple[str, bool]] = []
    stopped = threading.Event()
    thread = threading.Thread(
        target=follow,
        args=(
            cluster,
            "api/v1/namespaces/n/pods",
            "a=b",
            lambda pod, gone: seen.append((pod["metadata"]["uid"], gone)),
            stopped,
        ),
        daemon=True,
    )
    thread.start()
    assert script.over.wait(20)
    stopped.set()
    thread.join(20)
    assert not thread.is_alive()
    return seen


def test_a_watch_that_ends_goes_on_where_it_was(cluster: Cluster, script: Script) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    script.lists = [listed("5", named("a"))]
    script.watches = [(200, [event("ADDED", named("b", "6")), bookmark]), (200, [])]
    assert run(cluster, script) == [("a", False), ("b", False)]
    assert script.asked[:4] == ["list", "5", "9", "9"]


@pytest.mark.parametrize("how", ["event", "status"])
def test_an_expired_version_is_listed_anew_and_what_went_meanwhile_is_gone(
    cluster: Cluster, script: Script, how: str
) -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    script.lists = [listed("5", named("a"), named("b")), listed("50", named("b"))]
    script.watches = [(200, [event("ERROR", gone)]) if how == "event" else (410, gone)]
    seen = run(cluster, script)
    assert seen == [("a", False), ("b", False), ("a", True), ("b", False)]
    assert script.asked[:4] == ["list", "5", "list", "50"]


def test_a_deleted_pod_is_seen_once_more_as_gone(cluster: Cluster, script: Script) -> None:
    script.lists = [listed("5", named("a")), listed("7")]
    script.watches = [(200, [event("DELETED", named("a", "6"))])]
    assert run(cluster, script) == [("a", False), ("a", True)]


def test_a_refusal_is_one_sentence_with_the_remedy(cluster: Cluster, script: Script) -> None:
    status = {"reason": "Forbidden", "message": 'pods is forbidden: User "u" cannot list'}
    script.lists = [(403, status)]
    with pytest.raises(Refused) as caught:
        cluster.request("GET", "api/v1/namespaces/n/pods")
    assert caught.value.status == 403
    assert "cannot list" in str(caught.value)
    assert "manifests/gang-rbac.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_stumbles_is_asked_again(cluster: Cluster, script: Script) -> None:
    script.lists = [(503, {}), (429, {}), listed("5", named("a"))]
    assert len(cluster.request("GET", "api/v1/namespaces/n/pods")["items"]) == 1


def test_nobody_there_is_told_within_its_time() -> None:
    with pytest.raises(Refused, match="no answer"):
        _nowhere().request("GET", "api/v1/nodes", seconds=0.5)


def _nowhere() -> Cluster:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            },
            file,
        )
        file.flush()
        return Cluster(file.name)


def told_of(*pods: tuple[dict[str, Any], bool]) -> list[WorkerChange]:
    """What is told when a gang's pods are seen like this."""
    teller = Teller(lambda uid: [], lambda pod: "", lambda names: [])
    told: list[WorkerChange] = []
    stopped = threading.Event()

    def hear(change: WorkerChange) -> None:
        told.append(change)
        if change.uid == "the end":
            stopped.set()

    end = recorded("exit-3")
    end["metadata"]["uid"] = "the end"
    for pod, gone in [*pods, (end, False)]:
        teller.see(pod, gone)
    thread = threading.Thread(target=teller.tell, args=(hear, stopped), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    return told[:-1]


def test_a_change_is_told_once_however_often_the_pod_is_seen() -> None:
    pod, gone = recorded("running"), recorded("killed")
    gone["metadata"]["uid"] = pod["metadata"]["uid"]
    seen = [(pod, False), (pod, False), (gone, False), (gone, False), (gone, True)]
    assert [c.state for c in told_of(*seen)] == ["started", "ended"]


def test_what_keeps_a_pod_waiting_is_not_told_at_once() -> None:
    (change,) = told_of((recorded("unschedulable"), False))
    assert (change.state, change.cause, change.reason) == ("pending", "", "")


def test_what_cannot_come_right_is_told_at_once() -> None:
    pod = recorded("no-image")
    waiting = {"waiting": {"reason": "InvalidImageName", "message": "no"}}
    pod["status"]["containerStatuses"] = [{"name": "worker", "state": waiting}]
    (change,) = told_of((pod, False))
    assert change.fatal
