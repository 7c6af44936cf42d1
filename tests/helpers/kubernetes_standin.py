"""As much of an API server of Kubernetes as doctor, token and connect ask for."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tally.runs.doctor_kubernetes import ROLE_FILE

TOKEN = "of-the-kubeconfig"
_REVIEWS = ("localsubjectaccessreviews", "subjectaccessreviews", "selfsubjectaccessreviews")
Rule = dict[str, list[str]]
Lines = Callable[..., list[str]]


def shipped_rules() -> list[Rule]:
    (role,) = (o for o in yaml.safe_load_all(ROLE_FILE.read_text()) if o["kind"] == "Role")
    return list(role["rules"])


@dataclass
class ApiServer:
    """Its objects, and what is wrong with it.

    Attributes:
        objects: by path; a list's path gives those with the label selector that is asked for.
        bound: "namespace/account" → the rules of the Role that it is bound to.
        caller: who asks, of whom `selfsubjectreviews` tells.
        forbidden: paths, kinds, or "METHOD kind" that are answered 403.
        hanging: paths that are not answered until the test is over.
        status: of a pod that is made, each time that it is looked at.
        made: the pods that were made, as they were asked for.
        tokens: that were made.
        longest_token_seconds: what it gives at most.
        reviewed: answers a meter that asks whose a token is.
    """

    objects: dict[str, Any] = field(default_factory=dict)
    bound: dict[str, list[Rule]] = field(default_factory=dict)
    caller: str = "admin"
    forbidden: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    status: Callable[[], dict[str, Any]] = dict
    made: list[dict[str, Any]] = field(default_factory=list)
    version: str = "v1.34.4"
    tokens: list[str] = field(default_factory=list)
    longest_token_seconds: int = 2 * 86400
    reviewed: Callable[[str, Any], tuple[int, Any]] | None = None
    over: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def make_namespace(self, name: str, *accounts: str) -> None:
        self.objects[f"/api/v1/namespaces/{name}"] = {"metadata": {"name": name}}
        for account in accounts:
            path = f"/api/v1/namespaces/{name}/serviceaccounts/{account}"
            self.objects[path] = {"metadata": {"name": account}}
            self.bound[f"{name}/{account}"] = shipped_rules()

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        kind = path.rpartition("/")[2]
        if path in self.hanging:
            self.over.wait(30)
        if {path, kind, f"{method} {kind}"} & self.forbidden:
            return 403, {"reason": "Forbidden", "message": "no"}
        if path == "/version":
            return 200, {"gitVersion": self.version}
        if kind == "selfsubjectreviews":
            return 201, {"status": {"userInfo": {"username": self.caller}}}
        if kind in _REVIEWS:
            assert method == "POST"
            return 201, {"status": {"allowed": self._is_allowed(json.loads(body)["spec"])}}
        if kind == "tokenreviews" and self.reviewed:
            return self.reviewed(path, json.loads(body))
        if method == "POST" and kind == "token":
            return self._make_token(path.rpartition("/")[0], json.loads(body)["spec"])
        if method == "POST" and kind == "pods":
            return self._make_pod(path, json.loads(body))
        if method == "DELETE":
            gone = self.objects.pop(path, None)
            return (200, gone) if gone else (404, {"reason": "NotFound", "message": "gone"})
        found = self.objects.get(path)
        if found in self.made:
            return 200, {**found, "status": self.status()}
        if found is None and kind in ("nodes", "pods"):
            found = []
        if found is None:
            return 404, {"reason": "NotFound", "message": f"{path} not found"}
        if isinstance(found, list):
            key, _, value = query.get("labelSelector", "").partition("=")
            labelled = [o for o in found if not key or key in o["metadata"].get("labels", {})]
            wanted = [o for o in labelled if not value or o["metadata"]["labels"][key] == value]
            return 200, {"items": wanted}
        return 200, found

    def _make_token(self, account: str, spec: dict[str, Any]) -> tuple[int, Any]:
        """As the real one makes it; one too long is cut."""
        assert spec["audiences"] == ["tally-meter"]
        if account not in self.objects:
            return 404, {"reason": "NotFound", "message": f"{account} not found"}
        life = min(spec["expirationSeconds"], self.longest_token_seconds)
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=life)
        namespace, _, name = account.removeprefix("/api/v1/namespaces/").split("/")
        self.tokens.append(f"good.{namespace}.{name}")  # as the meter's stand-in knows them
        made = {
            "token": self.tokens[-1],
            "expirationTimestamp": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return 201, {"spec": {**spec, "expirationSeconds": life}, "status": made}

    def _make_pod(self, path: str, pod: dict[str, Any]) -> tuple[int, Any]:
        pod["metadata"]["uid"] = f"uid-{len(self.made)}"
        self.made.append(pod)
        self.objects[f"{path}/{pod['metadata']['name']}"] = pod
        return 201, pod

    def _is_allowed(self, spec: dict[str, Any]) -> bool:
        user, asked = spec.get("user", self.caller), spec["resourceAttributes"]
        who = user.removeprefix("system:serviceaccount:").replace(":", "/")
        assert asked["namespace"] == who.partition("/")[0]
        what = "/".join(filter(None, (asked["resource"], asked["subresource"])))
        return any(
            asked["group"] in rule["apiGroups"]
            and what in rule["resources"]
            and asked["verb"] in rule["verbs"]
            and asked["name"] in rule.get("resourceNames", [asked["name"]])
            for rule in self.bound.get(who, [])
        )

    def write_kubeconfig(self, path: Path, namespace: str = "") -> None:
        context = {"cluster": "c", "user": "u", **({"namespace": namespace} if namespace else {})}
        path.write_text(
            yaml.safe_dump(
                {
                    "clusters": [
                        {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
                    ],
                    "users": [{"name": "u", "user": {"token": TOKEN}}],
                    "contexts": [{"name": "x", "context": context}],
                    "current-context": "x",
                }
            )
        )


@contextlib.contextmanager
def serving(api: ApiServer) -> Iterator[ApiServer]:
    """The server on a free port, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = 401, {"reason": "Unauthorized", "message": "Unauthorized"}
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                status, said = api.answer(self.command, parts.path, query, body)
            with contextlib.suppress(OSError):  # who waited in vain has gone
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(said).encode())

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.over.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
