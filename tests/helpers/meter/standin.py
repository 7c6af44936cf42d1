"""As much of an API server as the meter asks for: what it is told of, what it patches."""

import asyncio
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from helpers import TESTS
from helpers.ports import HeldPort

RESOURCES = [
    {
        "name": name, "singularName": "", "kind": kind, "namespaced": namespaced,
        "verbs": ["list", "watch", "patch"],
    }
    for name, kind, namespaced in (
        ("pods", "Pod", True), ("nodes", "Node", False), ("namespaces", "Namespace", False),
    )
]  # fmt: skip


ARGO = "/apis/argoproj.io/v1alpha1"
TOKENS = TESTS / "meter" / "tokenreviews"
_RESOURCE = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v1(?:alpha1)?(?:/namespaces/[^/]+)?"
    r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?"
)
_GROUPS = {"jobs": "batch", "workflows": "argoproj.io"}


class ApiStandIn:
    """Pods and nodes by uid; in a thread of its own."""

    def __init__(self) -> None:
        kinds = ("pods", "nodes", "leases", "jobs", "workflows")
        self.objects: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
        self.has_workflows = False
        self.forbidden: set[str] = set()  # "list jobs.batch"
        self.deletions: list[tuple[str, Any]] = []
        self.patches: list[tuple[str, Any]] = []
        self.asked: set[tuple[str, str]] = set()
        self.rights: set[tuple[str, str, str]] = set()  # group, resource, verb that were needed
        self.patching: Callable[[], object] = lambda: None  # called at each patch
        self._held = HeldPort()
        self.port = self._held.number
        self._watchers: dict[str, list[asyncio.Queue[Any]]] = {kind: [] for kind in kinds}
        self._told: dict[str, list[tuple[int, Any]]] = {kind: [] for kind in self.objects}
        self._loop = asyncio.new_event_loop()
        self._version = 1
        self._runner: web.AppRunner | None = None
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        """As one that has crashed."""
        if self._runner:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
            self._runner = None

    def put(self, kind: str, thing: dict[str, Any], event: str = "MODIFIED") -> None:
        """Make it, or change it, or take it away (event DELETED)."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (self._put(kind, thing, event), done.set()))
        done.wait()

    def is_told(self, kind: str) -> bool:
        """Whether everything has been sent to whoever watches."""
        watchers = self._watchers[kind]
        return bool(watchers) and all(watcher.empty() for watcher in watchers)

    def write_kubeconfig(self, path: Path) -> None:
        cluster = {"server": f"http://127.0.0.1:{self.port}"}
        config = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "a-token"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(json.dumps(config))

    def _put(self, kind: str, thing: dict[str, Any], event: str) -> None:
        self._version += 1
        thing = {**thing, "metadata": {**thing["metadata"], "resourceVersion": str(self._version)}}
        uid = thing["metadata"].get("uid") or thing["metadata"]["name"]
        if event == "DELETED":
            self.objects[kind].pop(uid, None)
        else:
            self.objects[kind][uid] = thing
        told = {"type": event, "object": thing}
        self._told[kind].append((self._version, told))
        for watcher in self._watchers[kind]:
            watcher.put_nowait(told)

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._note])
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        app.add_routes(
            [
                web.get("/version", self._answer({"gitVersion": "v1.34.4"})),
                web.get("/api", self._answer({"versions": ["v1"]})),
                web.get("/apis", self._answer({"groups": []})),
                web.get("/api/v1", self._answer({"groupVersion": "v1", "resources": RESOURCES})),
                web.get("/api/v1/pods", self._list("pods")),
                web.get("/api/v1/nodes", self._list("nodes")),
                web.get(leases, self._list("leases")),
                web.patch("/api/v1/namespaces/{namespace}/pods/{name}", self._patch),
                web.get("/api/v1/namespaces/{namespace}/pods", self._list("pods")),
                web.get("/apis/batch/v1/jobs", self._list("jobs")),
                web.get("/apis/batch/v1/namespaces/{namespace}/jobs", self._list("jobs")),
                web.delete("/apis/batch/v1/namespaces/{namespace}/jobs/{name}", self._delete),
                web.get(ARGO, self._argo),
                web.post("/apis/authentication.k8s.io/v1/tokenreviews", self._review),
                web.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", self._review),
                web.get(f"{ARGO}/namespaces/{{namespace}}/workflows", self._list("workflows")),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    def _answer(self, body: Any) -> Any:
        async def handler(request: web.Request) -> web.Response:
            self.asked.add((request.method, request.path))
            return web.json_response(body)

        return handler

    def _list(self, kind: str) -> Any:
        async def handler(request: web.Request) -> web.StreamResponse:
            self.asked.add((request.method, request.path))
            if request.query.get("watch"):
                return await self._watch(request, kind)
            if refused := self._refused("list", kind):
                return refused
            items = [one for one in self.objects[kind].values() if _is_asked(request, one)]
            return web.json_response(
                {"items": items, "metadata": {"resourceVersion": str(self._version)}}
            )

        return handler

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> Any:
        """What a Role must have for this; discovery is anybody's."""
        if found := _RESOURCE.fullmatch(request.path):
            verbs = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}
            reads = "get" if found["name"] else "watch" if "watch" in request.query else "list"
            verb = verbs.get(request.method, reads)
            self.rights.add((found["group"] or "", found["resource"], verb))
        return await handler(request)

    async def _review(self, request: web.Request) -> web.Response:
        """Every token is a good one, and who has one may see everything."""
        body = await request.json()
        if body["kind"] == "TokenReview":
            body = json.loads((TOKENS / "good.json").read_text())
        return web.json_response({**body, "status": {"allowed": True, **body.get("status", {})}})

    def _refused(self, verb: str, kind: str) -> web.Response | None:
        group = _GROUPS.get(kind, "")
        if f"{verb} {kind}.{group}" not in self.forbidden:
            return None
        words = f'cannot {verb} resource "{kind}" in API group "{group}" at the cluster scope'
        message = f'{kind}.{group} is forbidden: User "meter" {words}'
        said = {"kind": "Status", "reason": "Forbidden", "code": 403, "message": message}
        return web.json_response(said, status=403)

    async def _argo(self, request: web.Request) -> web.Response:
        self.asked.add((request.method, request.path))
        if not self.has_workflows:
            return web.json_response({"code": 404, "reason": "NotFound"}, status=404)
        return web.json_response({"resources": [{"name": "workflows"}]})

    async def _delete(self, request: web.Request) -> web.Response:
        if refused := self._refused("delete", "jobs"):
            return refused
        body = await request.json()
        uid = body["preconditions"]["uid"]
        self.deletions.append((request.path, body))
        if self.objects["jobs"].pop(uid, None) is None:
            return web.json_response({"code": 404, "reason": "NotFound"}, status=404)
        return web.json_response({"kind": "Status"})

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        for version, told in self._told[kind]:
            if version > int(request.query["resourceVersion"]):
                queue.put_nowait(told)
        self._watchers[kind].append(queue)
        try:
            while True:
                await response.write(json.dumps(await queue.get()).encode() + b"\n")
        finally:
            self._watchers[kind].remove(queue)

    async def _patch(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.patching()
        self.patches.append((request.path, body))
        name = request.match_info["name"]
        for uid, pod in self.objects["pods"].items():
            if pod["metadata"]["name"] == name:
                assert body[0] == {"op": "test", "path": "/metadata/uid", "value": uid}
                meta = {**pod["metadata"], "finalizers": []}
                self._put("pods", {**pod, "metadata": meta}, "DELETED")
                return web.json_response(pod)
        return web.json_response({"message": "not found", "code": 404}, status=404)


def _is_asked(request: web.Request, one: dict[str, Any]) -> bool:
    """Whether it is of the namespace of the path and of the selectors."""
    meta = one["metadata"]
    if request.match_info.get("namespace", meta.get("namespace")) != meta.get("namespace"):
        return False
    name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
    if name and meta["name"] != name:
        return False
    labels = meta.get("labels") or {}
    for part in filter(None, request.query.get("labelSelector", "").split(",")):
        key, _, value = part.partition("=")
        if key not in labels or (value and labels[key] != value):
            return False
    return True
