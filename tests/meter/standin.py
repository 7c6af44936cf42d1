"""As much of an API server as the meter asks for: what it is told of, what it patches."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

RESOURCES = [
    {
        "name": name, "singularName": "", "kind": kind, "namespaced": namespaced,
        "verbs": ["list", "watch", "patch"],
    }
    for name, kind, namespaced in (
        ("pods", "Pod", True), ("nodes", "Node", False), ("namespaces", "Namespace", False),
    )
]  # fmt: skip


class ApiStandIn:
    """Pods and nodes by uid; in a thread of its own."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {"pods": {}, "nodes": {}, "leases": {}}
        self.patches: list[tuple[str, Any]] = []
        self.asked: set[tuple[str, str]] = set()
        self.patching: Callable[[], object] = lambda: None  # called at each patch
        self.port = 0
        self._watchers: dict[str, list[asyncio.Queue[Any]]] = {
            "pods": [],
            "nodes": [],
            "leases": [],
        }
        self._told: dict[str, list[tuple[int, Any]]] = {kind: [] for kind in self.objects}
        self._loop = asyncio.new_event_loop()
        self._version = 1
        self._runner: web.AppRunner | None = None
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def start(self, port: int = 0) -> None:
        asyncio.run_coroutine_threadsafe(self._start(port or self.port), self._loop).result(10)

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

    async def _start(self, port: int) -> None:
        app = web.Application()
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
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

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
            items = list(self.objects[kind].values())
            return web.json_response(
                {"items": items, "metadata": {"resourceVersion": str(self._version)}}
            )

        return handler

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
