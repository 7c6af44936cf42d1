"""CPU and memory that pods really use, from each node's kubelet: its /metrics/resource, directly.

Asking the API server to pass it on would need nodes/proxy, which can run commands in every pod of
the cluster; nodes/metrics can read metrics and nothing else.
"""

import asyncio
import math
import os
import ssl
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tally.errors import SpecError
from tally.kube.sampling import LEAST_SECONDS, PodSample
from tally.kube.template import Object
from tally.meter.credentials import login

_CPU, _MEMORY = "pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes"
_CONTAINER_CPU = "container_cpu_usage_seconds_total"
_CONTAINER_MEMORY = "container_memory_working_set_bytes"
_CONTAINER_START = "container_start_time_seconds"
_READ = (_CPU, _MEMORY, _CONTAINER_CPU, _CONTAINER_MEMORY, _CONTAINER_START)
_AT_ONCE = 16
_ANSWER_SECONDS = 5.0
_LARGEST_BYTES = 16 << 20
_LONGEST_BACKOFF_SECONDS = 300.0
_TLS = "TALLY_KUBELET_TLS"


@dataclass
class _Silence:
    """A node that did not answer."""

    line: str
    seconds: float
    until_seconds: float


@dataclass
class _Told:
    """What an answer says of a pod: of itself by name, and by container."""

    own: dict[str, Sample] = field(default_factory=dict)
    containers: dict[str, dict[str, Sample]] = field(default_factory=dict)


def samples(text: str) -> list[PodSample]:
    """The pods of a kubelet's /metrics/resource, without those of which it says only half.

    A pod's own counter has what init containers used and what was used before a restart, but reads
    0 until the kubelet has looked at the cgroup that it made, 10 to 20 s long; the counters of its
    containers are there by then, and are at times newer. So the greater of both counts.

    Raises:
        ValueError: it is no such text.
    """
    lines = [line for line in text.splitlines() if line.startswith(_READ)]
    told: dict[tuple[str, str], _Told] = {}
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            pod = told.setdefault((sample.labels["namespace"], sample.labels["pod"]), _Told())
            container = sample.labels.get("container")
            into = pod.own if container is None else pod.containers.setdefault(container, {})
            into[sample.name] = sample
    found = []
    for (namespace, name), pod in told.items():
        looks = [_look(pod.own, _CPU, _MEMORY), _of_containers(pod.containers.values())]
        if known := [look for look in looks if look is not None and look[1]]:
            at, cpu, _ = max(known, key=lambda look: look[1])
            memory = max(look[2] for look in known)  # a container's lacks what the kernel holds
            rate = _rate_cores(pod.containers.values())
            found.append(PodSample(namespace, name, at, cpu, memory, rate))
    return found


_Look = tuple[int, float, float]  # microseconds, core-seconds, bytes


def _look(told: Mapping[str, Sample], cpu: str, memory: str) -> _Look | None:
    """One look's time and what it found: the two differ where the kubelet looked between them."""
    if cpu not in told or memory not in told or (at := told[cpu].timestamp) is None:
        return None
    return round(float(at) * 1e6), float(told[cpu].value), float(told[memory].value)


def _of_containers(containers: Iterable[Mapping[str, Sample]]) -> _Look | None:
    """All of a pod's containers together, as of the latest look at one of them."""
    looks = [_look(told, _CONTAINER_CPU, _CONTAINER_MEMORY) for told in containers]
    whole = [look for look in looks if look is not None]
    if not whole:
        return None
    return max(at for at, _, _ in whole), sum(c for _, c, _ in whole), sum(m for _, _, m in whole)


def _rate_cores(containers: Iterable[Mapping[str, Sample]]) -> float | None:
    rates = []
    for told in containers:
        if _CONTAINER_CPU in told and _CONTAINER_START in told:
            cpu, began = told[_CONTAINER_CPU], float(told[_CONTAINER_START].value)
            seconds = 0.0 if cpu.timestamp is None else float(cpu.timestamp) - began
            if seconds >= LEAST_SECONDS:
                rates.append(float(cpu.value) / seconds)
    return sum(rates) if rates else None


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
    """Asks the kubelets of all nodes, at once but for those that have not answered for a while.

    Attributes:
        usual_seconds: between two questions to a node.
        often_seconds: the same where a pod is young; a kubelet itself looks each 10 s or so.
    """

    usual_seconds: float = 15.0
    often_seconds: float = 5.0
    _context: ssl.SSLContext = field(default_factory=trust)
    _silent: dict[str, _Silence] = field(default_factory=dict)
    _asked: dict[str, float] = field(default_factory=dict)

    async def look(self, nodes: Sequence[Object], often: Collection[str] = ()) -> list[PodSample]:
        """What the kubelets of these nodes say of their pods, of each whose time has come.

        Args:
            nodes: all that there are.
            often: names of those that are asked more often.

        A node that does not answer within 5 s is left out, and after each further time is asked
        later, 5 minutes at most; it never holds up the others.
        """
        names = {node["metadata"]["name"] for node in nodes}
        self._silent = {name: kept for name, kept in self._silent.items() if name in names}
        now = time.monotonic()
        self._asked = {name: at for name, at in self._asked.items() if name in names}
        asked = [
            node
            for node in nodes
            if self._is_due(node["metadata"]["name"], now, node["metadata"]["name"] in often)
        ]
        self._asked.update((node["metadata"]["name"], now) for node in asked)
        gate = asyncio.Semaphore(_AT_ONCE)
        token = login().token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with aiohttp.ClientSession(headers=headers) as session:
            answers = await asyncio.gather(*(self._one(session, gate, node) for node in asked))
        return [sample for answer in answers for sample in answer]

    def silent(self) -> Mapping[str, str]:
        """Nodes that did not answer when they were last asked, and why not."""
        return {name: kept.line for name, kept in self._silent.items()}

    def _is_due(self, name: str, now: float, is_often: bool) -> bool:
        if name in self._silent:
            return self._silent[name].until_seconds <= now
        seconds = self.often_seconds if is_often else self.usual_seconds
        # rounds come when they come: half of one early is nearer than half of one late
        return now - self._asked.get(name, -math.inf) > seconds - self.often_seconds / 2

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
