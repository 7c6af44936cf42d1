"""The meter's HTTP server on a free port, a real ledger behind it, and an API server's reviews.

The reviews are those of a real API server, in tokenreviews/; the namespace is the token's.
"""

import asyncio
import contextlib
import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from helpers import TESTS
from tally import clock
from tally.costing.ledger import Ledger, open_ledger
from tally.meter.access import Access
from tally.meter.apiserver import ApiServer
from tally.meter.app import make_app, review_by, serving
from tally.meter.blocking import Blocking
from tally.meter.health import Health
from tally.meter.identity import AUDIENCE
from tally.meter.rates import Rates

RECORDED = TESTS / "meter" / "tokenreviews"
OWN = "tally"
_KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: meter, user: {{token: of-the-meter}}}}]
contexts: [{{name: test, context: {{cluster: test, user: meter}}}}]
current-context: test
"""


def recorded(name: str) -> dict[str, Any]:
    return json.loads((RECORDED / f"{name}.json").read_text())


def token_of(namespace: str, account: str = "pipeline-runner") -> str:
    """A token that the API server knows."""
    return f"good.{namespace}.{account}"


@dataclass
class Reviews:
    """The API server: tokens "good.NAMESPACE.ACCOUNT" are such an account's, others as recorded.

    Attributes:
        may: (account's namespace, verb, namespace) that its authorizer allows; "" is all.
        access_asked: the specs of SubjectAccessReviews.
        silent, forbids: answers 500, and 403 to SubjectAccessReviews.
    """

    port: int = 0
    asked: list[str] = field(default_factory=list)
    may: set[tuple[str, str, str]] = field(default_factory=set)
    access_asked: list[dict[str, Any]] = field(default_factory=list)
    silent: bool = False
    forbids: bool = False

    def reviewed(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.silent:
            return 500, {}
        if path == "/apis/authentication.k8s.io/v1/tokenreviews":
            return 201, self.answer(body)
        if path != "/apis/authorization.k8s.io/v1/subjectaccessreviews":
            return 404, {}
        return (403, {"message": "forbidden"}) if self.forbids else (201, self.access(body))

    def access(self, review: dict[str, Any]) -> dict[str, Any]:
        assert review["kind"] == "SubjectAccessReview"
        spec = review["spec"]
        self.access_asked.append(spec)
        asked = spec["resourceAttributes"]
        assert (asked["group"], asked["resource"]) == ("argoproj.io", "workflows")
        may = (spec["user"].split(":")[2], asked["verb"], asked["namespace"]) in self.may
        return {**review, "status": {"allowed": may}}

    def answer(self, review: dict[str, Any]) -> dict[str, Any]:
        assert review["kind"] == "TokenReview" and review["spec"]["audiences"] == [AUDIENCE]
        self.asked.append(review["spec"]["token"])
        kind, namespace, account = review["spec"]["token"].split(".")
        said = copy.deepcopy(recorded(kind if (RECORDED / f"{kind}.json").exists() else "garbage"))
        if kind == "good":
            said["status"]["user"]["username"] = f"system:serviceaccount:{namespace}:{account}"
        return said


@contextlib.contextmanager
def api_server() -> Iterator[Reviews]:
    reviews = Reviews()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, said = reviews.reviewed(self.path, body)
            text = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    reviews.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield reviews
    server.shutdown()
    server.server_close()
    thread.join(10)


@dataclass
class Meter:
    """A meter that serves."""

    port: int
    ledger: Ledger
    health: Health
    reviews: Reviews
    metrics: bytes = b"tally_cost_usd_total 1.5\n"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = token_of("team-a"),
        *,
        body: Any = None,
        key: str | None = "k1",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The status, and the answer as JSON; a body that is no bytes is sent as JSON of 1."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            sent |= {} if key is None else {"Idempotency-Key": key}
            body = body if isinstance(body, bytes) else json.dumps({"schema": 1, **body}).encode()
        answer = urllib3.request(
            method, self.url + path, body=body, headers=sent, retries=False, timeout=30
        )
        data = answer.data
        return answer.status, json.loads(data) if data.startswith(b"{") else data.decode()


@contextlib.contextmanager
def served_meter(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    metrics_open: bool = False,
    readers: frozenset[str] = frozenset(),
    blocking: Blocking | None = None,
    rates: Rates | None = None,
    now: Callable[[], int] = clock.now_microseconds,
    port: int = 0,
) -> Iterator[Meter]:
    """A meter of the namespace OWN on 127.0.0.1, in a thread."""
    with api_server() as reviews, open_ledger(f"sqlite:///{folder}/meter.db") as ledger:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(_KUBECONFIG.format(port=reviews.port))
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        meter = Meter(0, ledger, Health(), reviews)
        access = Access(OWN, readers, metrics_open)
        ready, ended = threading.Event(), asyncio.Event()
        loop = asyncio.new_event_loop()

        async def serve() -> None:
            async with ApiServer() as server:
                app = make_app(
                    ledger, review_by(server), meter.health, lambda: meter.metrics, access, now,
                    rates=rates, blocking=blocking,
                )  # fmt: skip
                async with serving(app, "127.0.0.1", port) as found:
                    meter.port = found
                    ready.set()
                    await ended.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
        thread.start()
        assert ready.wait(20)
        yield meter
        loop.call_soon_threadsafe(ended.set)
        thread.join(20)
        assert not thread.is_alive()
        loop.close()


def until(true: Any, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found
