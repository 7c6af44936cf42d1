"""A Kubeflow Pipelines server that gives recorded answers, over real HTTP.

What it answers is what a real server answered (recorded/); what it keeps is as much as must be
consistent: pipelines, versions, experiments, and runs, which it counts. A run goes through a story:
each look at it is answered by the next of these recordings, the last one for ever.
"""

import contextlib
import copy
import json
import os
import signal
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from helpers.contract.recordings import (
    CANCELLED,
    RETRIED,
    SUCCESS,
    answer_of,
    fault_of,
    identity_of,
    listed_of,
    recorded,
    route_of,
)  # fmt: skip


@dataclass
class Replay:
    """The server's memory, and what goes wrong with it.

    Attributes:
        faults: by route, as in `routes`, what happens instead, one a request in this order:
            "503", "500", "504" or another status; "reset", the connection; "ok", nothing;
            the name of a recording; with "done then " before it, it is done all the same; "late",
            it is done after the next one of the same route, and answered 504 now.
        tokens: those that are accepted, None for anybody.
        looked, created: called with each look at a run, and with each run that is created.
        cancelled: the story of a run once it is terminated; an answer may stand for its recording.
        retried: the story of a run once it is retried.
        synthetic: a made-up answer to all looks at runs.
        kubernetes: answers by path of an API server of Kubernetes at the same address; a number
            is a status without one.
    """

    story: list[str] = field(default_factory=lambda: list(SUCCESS))
    faults: dict[str, list[str]] = field(default_factory=dict)
    tokens: set[str] | None = None
    multi_user: bool = False
    looked: Callable[["Replay"], None] = lambda self: None
    created: Callable[["Replay"], None] = lambda self: None
    cancelled: list[Any] = field(default_factory=lambda: list(CANCELLED))
    retried: list[str] = field(default_factory=lambda: list(RETRIED))
    kubernetes: dict[str, Any] = field(default_factory=dict)
    synthetic: dict[str, Any] | None = None

    port: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    at: list[tuple[float, str]] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    asked_with: list[str] = field(default_factory=list)
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: list[bytes] = field(default_factory=list)
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _left: dict[str, list[Any]] = field(default_factory=dict)
    _late: list[bytes] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def the_run(self) -> dict[str, Any]:
        """The one run that there is."""
        assert len(self.runs) == 1, list(self.runs)
        return next(iter(self.runs.values()))

    def answer(
        self, method: str, path: str, query: dict[str, str], body: bytes, token: str
    ) -> tuple[int, Any]:
        """Status and body; status 0 resets the connection."""
        with self._lock:
            route, ids = route_of(method, path)
            self.seen[route] += 1
            self.at.append((time.monotonic(), route))
            self.queries.append(query)
            self.asked_with.append(token)
            if self.tokens is not None and token not in self.tokens:
                return 401, {"code": 16, "message": "Request not authenticated: Unauthenticated"}
            fault = self.faults.get(route, []).pop(0) if self.faults.get(route) else "ok"
            done = fault.removeprefix("done then ")
            if fault == "late":
                self._late.append(body)
                return 504, {}
            status, said = 200, {}
            if fault == "ok" or done != fault:
                status, said = self._do(route, ids, query, body)
                while self._late and route == "POST runs":
                    self._do(route, ids, query, self._late.pop())
            if fault != "ok":
                return fault_of(done)
            if route == "GET runs/*":
                self.looked(self)
            return status, said

    def _do(
        self, route: str, ids: list[str], query: dict[str, str], body: bytes
    ) -> tuple[int, Any]:
        sent = json.loads(body) if body[:1] == b"{" else {}
        match route:
            case "GET healthz":
                return 200, {**answer_of("01-healthz"), "multi_user": self.multi_user}
            case "GET pipelines":
                return 200, listed_of("pipelines", self._named(self.pipelines, query))
            case "POST pipelines":
                return self._make(self.pipelines, sent["name"], "02-upload-pipeline", "pipeline_id",
                                  "42-error-duplicate-pipeline-name")  # fmt: skip
            case "GET pipelines/*/versions":
                return 200, listed_of("pipeline_versions", self._named(self.versions, query))
            case "POST pipelines/upload_version":
                self.uploads.append(body)
                return self._make(self.versions, query["name"], "03-upload-pipeline-version",
                                  "pipeline_version_id",
                                  "43-error-duplicate-version-name")  # fmt: skip
            case "GET experiments":
                return 200, listed_of("experiments", self._named(self.experiments, query))
            case "POST experiments":
                return self._make(self.experiments, sent["display_name"], "06-create-experiment",
                                  "experiment_id", "45-error-duplicate-experiment")  # fmt: skip
            case "POST runs":
                return self._create(sent)
            case "GET runs":
                return 200, listed_of("runs", self._named(self.runs, query))
        return self._of_run(route, ids)

    def _of_run(self, route: str, ids: list[str]) -> tuple[int, Any]:
        run_id = ids[0] if ids else ""
        if route == "GET v1alpha1 log":
            return 200, recorded("30-run-log-v1alpha1")["response_body"]
        if run_id not in self.runs:
            return 404, answer_of("46-error-unknown-run")
        match route:
            case "GET runs/*":
                left = self._left[run_id]
                name = left.pop(0) if len(left) > 1 else left[0]
                made = self.synthetic or (name if isinstance(name, dict) else None)
                story = copy.deepcopy(made) if made else answer_of(name)
                return 200, {**story, **identity_of(self.runs[run_id])}
            case "POST runs/*:terminate":
                self._left[run_id] = list(self.cancelled)
                return 200, answer_of("19-terminate-run")
            case "POST runs/*:retry":
                self._left[run_id] = list(self.retried)
                return 200, answer_of("25-retry-run")
            case "DELETE runs/*":
                del self.runs[run_id]
                return 200, {}
        return 404, {"code": 5, "message": f"Not Found: {route}"}

    def _named(self, kept: dict[str, dict[str, Any]], query: dict[str, str]) -> list[Any]:
        rows = list(kept.values())
        for wanted in json.loads(query.get("filter") or "{}").get("predicates", []):
            assert wanted["operation"] == "EQUALS"
            key = {"name": "display_name"}.get(wanted["key"], wanted["key"])
            rows = [row for row in rows if row[key] == wanted["stringValue"]]
        return rows

    def _make(self, kept: dict[str, dict[str, Any]], name: str, example: str, key: str,
              refusal: str) -> tuple[int, Any]:  # fmt: skip
        if name in kept:
            return recorded(refusal)["status"], answer_of(refusal)
        kept[name] = {**answer_of(example), key: str(uuid.uuid4()), "display_name": name,
                      "name": name}  # fmt: skip
        return 200, kept[name]

    def _create(self, sent: dict[str, Any]) -> tuple[int, Any]:
        version = sent["pipeline_version_reference"]["pipeline_version_id"]
        if version not in [row["pipeline_version_id"] for row in self.versions.values()]:
            return 500, answer_of("47-error-unknown-version")
        run_id = str(uuid.uuid4())
        at = f"2026-11-25T07:00:{len(self.runs):02d}Z"
        run = {**answer_of("09-create-run-by-version"), **sent, "run_id": run_id, "created_at": at}
        self.runs[run_id] = run
        self._left[run_id] = list(self.story)
        self.created(self)
        return 200, run


@contextlib.contextmanager
def serving(replay: Replay) -> Iterator[Replay]:
    """The server on a free port, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if parts.path in replay.kubernetes:
                replay.seen[parts.path] += 1
                said = replay.kubernetes[parts.path]
                status, said = (said, {}) if isinstance(said, int) else (200, said)
            else:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                status, said = replay.answer(self.command, parts.path, query, body, token)
            if status == 0:
                reset = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                self.close_connection = True
                return
            text = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", self.path)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, *arguments: object) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that was interrupted has gone."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    replay.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield replay
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def interrupt_at(look: int) -> Callable[[Replay], None]:
    """Ctrl-C, when the run is looked at for this time."""

    def looked(replay: Replay) -> None:
        if replay.seen["GET runs/*"] == look:
            os.kill(os.getpid(), signal.SIGINT)

    return looked
