"""CPU and memory that pods really use, from each node's kubelet: its /metrics/resource, directly.

Asking the API server to pass it on would need nodes/proxy, which can run commands in every pod of
the cluster; nodes/metrics can read metrics and nothing else.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tally.errors import SpecError
from tally.kube.template import Object
from tally.meter.credentials import login

_CPU, _MEMORY = "pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes"
_AT_ONCE = 16
_ANSWER_SECONDS = 5.0
_LARGEST_BYTES = 16 << 20
_LONGEST_BACKOFF_SECONDS = 300.0
_TLS = "TALLY_KUBELET_TLS"


@dataclass(frozen=True, slots=True)
class PodSample:
    """One look at a pod's own cgroup.

    Attributes:
        namespace, name: of the pod.
        at_microseconds: when the kubelet looked, UTC on the node's clock.
        cpu_core_seconds: used since the pod began.
        working_set_bytes: of memory held then.
    """

    namespace: str
    name: str
    at_microseconds: int
    cpu_core_seconds: float
    working_set_bytes: float


@dataclass
class _Silence:
    """A node that did not answer."""

    line: str
    seconds: float
    until_seconds: float


def samples(text: str) -> list[PodSample]:
    """The pods of a kubelet's /metrics/resource, without those of which it says only half.

    Nor those whose counter is 0: of these it only knows that their cgroup was empty when it was
    made, and it looks again 10 to 20 s later. Their containers' own counters may be there by then,
    but have neither init containers that have ended nor what was used before a restart.

    Raises:
        ValueError: it is no such text.
    """
    lines = [line for line in text.splitlines() if line.startswith((_CPU, _MEMORY))]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            pod = found.setdefault((sample.labels["namespace"], sample.labels["pod"]), {})
            pod[sample.name] = sample
    return [
        PodSample(
            namespace,
            name,
            # one look has one time; the two differ where the kubelet looked between them
            round(float(pod[_CPU].timestamp) * 1e6),
            float(pod[_CPU].value),
            float(pod[_MEMORY].value),
        )
        for (namespace, name), pod in found.items()
        if _CPU in pod and _MEMORY in pod and pod[_CPU].value and pod[_CPU].timestamp is not None
    ]


def trust() -> ssl.SSLContext:
    """Whom to believe to be a kubelet: $TALLY_KUBELET_TLS.

    "cluster" (usual): who has a certificate of the cluster's own CA for the node's name. A file:
    those that its CAs signed. "insecure": anybody, for clusters whose kubelets sign for themselves
    (kubeadm without serverTLSBootstrap); who can take over a node's address can then read the
    meter's token.

    Raises:
        SpecError: there is no such file.
    """
    given = os.environ.get(_TLS) or "cluster"
    if given == "insecure":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    if given == "cluster":
        return login().as_ssl_context()
    try:
        return ssl.create_default_context(cafile=given)
    except OSError as error:
        raise SpecError(
            f"{_TLS}: expected cluster, insecure or a file of CA certificates, got {given} "
            f"({error}); correct it"
        ) from error


@dataclass
class Kubelets:
    """Asks the kubelets of all nodes, at once but for those that have not answered for a while."""

    usual_seconds: float = 15.0
    _context: ssl.SSLContext = field(default_factory=trust)
    _silent: dict[str, _Silence] = field(default_factory=dict)

    async def look(self, nodes: Sequence[Object]) -> list[PodSample]:
        """What the kubelets of these nodes say of their pods.

        A node that does not answer within 5 s is left out, and after each further time is asked
        later, 5 minutes at most; it never holds up the others.
        """
        names = {node["metadata"]["name"] for node in nodes}
        self._silent = {name: kept for name, kept in self._silent.items() if name in names}
        now = time.monotonic()
        asked = [node for node in nodes if self._is_due(node["metadata"]["name"], now)]
        gate = asyncio.Semaphore(_AT_ONCE)
        token = login().token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with aiohttp.ClientSession(headers=headers) as session:
            answers = await asyncio.gather(*(self._one(session, gate, node) for node in asked))
        return [sample for answer in answers for sample in answer]

    def silent(self) -> Mapping[str, str]:
        """Nodes that did not answer when they were last asked, and why not."""
        return {name: kept.line for name, kept in self._silent.items()}

    def _is_due(self, name: str, now: float) -> bool:
        return name not in self._silent or self._silent[name].until_seconds <= now

    async def _one(
        self, session: aiohttp.ClientSession, gate: asyncio.Semaphore, node: Object
    ) -> list[PodSample]:
        name = node["metadata"]["name"]
        async with gate:
            try:
                found = samples(await self._text(session, node))
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, OSError) as error:
                self._did_not_answer(name, error)
                return []
        self._silent.pop(name, None)
        return found

    async def _text(self, session: aiohttp.ClientSession, node: Object) -> str:
        addresses = {a["type"]: a["address"] for a in node["status"].get("addresses") or []}
        ip = addresses.get("InternalIP")
        if not ip:
            raise ValueError("it has no InternalIP")
        at = f"[{ip}]" if ":" in ip else ip
        port = node["status"].get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port")
        async with session.get(
            f"https://{at}:{port or 10250}/metrics/resource",
            ssl=self._context,
            # certificates are for the node's name; not all are for its address too
            server_hostname=addresses.get("Hostname") or node["metadata"]["name"],
            timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
        ) as response:
            response.raise_for_status()
            body = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > _LARGEST_BYTES:
                    raise ValueError("it answered with more than 16 MiB")
            return body.decode()

    def _did_not_answer(self, name: str, error: Exception) -> None:
        before = self._silent.get(name)
        seconds = self.usual_seconds if before is None else 2 * before.seconds
        seconds = min(seconds, _LONGEST_BACKOFF_SECONDS)
        words = " ".join(str(error).split())[:200] or type(error).__name__
        line = (
            f"expected its kubelet's /metrics/resource, got '{words}'; allow the meter to reach "
            f"port 10250 and look at {_TLS}"
        )
        # the time of one round is in it: the first is asked again in the next round
        until = time.monotonic() + seconds - self.usual_seconds / 2
        self._silent[name] = _Silence(line, seconds, until)
