"""Watching pods and nodes with kopf, in a thread of its own: it only looks, and patches nothing."""

import asyncio
import dataclasses
import datetime
import threading
from collections.abc import Callable
from typing import Any

import kopf

from tally.kube.template import Object
from tally.meter.credentials import login
from tally.meter.health import Health

Seen = Callable[[str, Object, bool], None]
"""Called from the watching thread: "pod" or "node", the object as it looks now, whether it is
gone."""

_KINDS = {"pods": "pod", "nodes": "node"}
_AGAIN_SECONDS = (1.0, 30.0)  # after a failure: the first and the longest
_LOGIN_SECONDS = 300.0
_CHUNK = 100  # objects a page of the first list: of a thousand pods at once, the JSON has 30 MB


class _Nothing(kopf.DiffBaseStorage, kopf.ProgressStorage):
    """Kopf's memory of handled objects: none. Nothing is handled but as it is seen, and comparing
    would copy every pod at every change."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        return {}

    def clear(self, *, essence: Any) -> Any:
        return essence

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None


def watch(seen: Seen, health: Health, stopped: threading.Event) -> None:
    """Tell of every pod and node as it is and whenever it changes, until `stopped`.

    What vanished while the connection was broken for so long that the API server has forgotten it
    is not told of: whoever wants to know lists from time to time.
    """
    pause_seconds, longest_seconds = _AGAIN_SECONDS
    health.problem("watch", "expected to be told of pods and nodes, got nothing yet")
    while not stopped.is_set():
        began = threading.Event()
        try:
            asyncio.run(_operator(seen, health, stopped, began))
        except Exception as error:  # whatever it was, the meter goes on
            words = " ".join(str(error).split())[:300] or type(error).__name__
            health.problem("watch", f"expected to watch pods and nodes, got '{words}'")
        if stopped.wait(pause_seconds):
            return
        pause_seconds = (
            _AGAIN_SECONDS[0] if began.is_set() else min(2 * pause_seconds, longest_seconds)
        )


async def _operator(
    seen: Seen, health: Health, stopped: threading.Event, began: threading.Event
) -> None:
    registry = kopf.OperatorRegistry()

    async def credentials(**_: Any) -> kopf.ConnectionInfo:
        now = datetime.datetime.now(datetime.UTC)
        until = now + datetime.timedelta(seconds=_LOGIN_SECONDS)
        return dataclasses.replace(login(), expiration=until)

    async def told(event: Any, resource: Any, **_: Any) -> None:
        if not began.is_set():
            began.set()
            health.well("watch")
        seen(_KINDS[resource.plural], event["object"], event["type"] == "DELETED")

    kopf.on.login(id="login", registry=registry, backoff=2.0)(credentials)
    for plural in _KINDS:
        kopf.on.event("", "v1", plural, id=plural, registry=registry)(told)
    await kopf.operator(
        registry=registry,
        settings=settings(),
        standalone=True,
        clusterwide=True,
        stop_flag=stopped,
    )


def settings() -> kopf.OperatorSettings:
    """Kopf's: no events posted, nothing kept on objects, no other kinds looked for."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.scanning.disabled = True
    nothing: Any = _Nothing()
    made.persistence.diffbase_storage = made.persistence.progress_storage = nothing
    made.watching.chunk_size = _CHUNK
    made.watching.server_timeout = 300
    made.watching.connect_timeout = 5
    # the default waits longer each time, 21 s at last: an API server that is back is seen in 1 s
    made.networking.error_backoffs = [1.0, 1.0]
    made.networking.request_timeout = 60
    made.networking.connect_timeout = 5
    made.queueing.idle_timeout = 1.0
    made.queueing.exit_timeout = 1.0
    made.process.ultimate_exiting_timeout = None
    return made
