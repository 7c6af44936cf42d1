"""Amounts and times as Kubernetes writes them: what a pod asks for, what a node has. Pure."""

import datetime
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from tally.errors import SpecError
from tally.kube.template import Object

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d{1,3}|[KMGTPE]i|[numkMGTPE])?")
_SUFFIXES = {
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("num kMGTPE", -3)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}
_WHOLE_DEVICES = ("nvidia.com/gpu", "nvidia.com/gpu.shared", "google.com/tpu", "amd.com/gpu")
_MIG = re.compile(r"nvidia\.com/mig-(?:(\d+)g\.)?")
_MIG_SLICES = 7
_CLIENTS = ("cloud.google.com/gke-max-shared-clients-per-gpu", "nvidia.com/gpu.replicas")
_RESIZABLE = ("cpu", "memory")
_LARGEST_BYTES = 2**62  # more than any machine has, and the ledger can keep it
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)

Amounts = dict[str, Decimal]
"""By the resource's name."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a pod holds of its node, or what a node has.

    Attributes:
        cpu_cores, memory_bytes: as asked for.
        accelerators: all kinds together, whole devices; see `accelerators`.
    """

    cpu_cores: float
    memory_bytes: int
    accelerators: float


def microseconds(text: str | None) -> int | None:
    """A time as the API server writes it, UTC; None where there is none.

    A container that could not be started has the year 1970 as its start: that is none either.
    """
    if not text:
        return None
    moment = datetime.datetime.fromisoformat(text)
    return max(0, (moment - _EPOCH) // _MICROSECOND) or None


@functools.lru_cache(maxsize=4096)
def quantity(text: str) -> Decimal:
    """Kubernetes' "100m", "1.5", "1Gi", "512M", "1e3" as a number: cores, bytes, devices.

    Raises:
        SpecError: it is none of these.

    Source: k8s.io/apimachinery, pkg/api/resource/quantity.go.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise SpecError(
            f'quantity: expected a number, or one with n, m, k, M, Gi, … behind, got "{text}"; '
            "write it like 500m or 1Gi"
        )
    number, suffix = found[1], found[2] or " "
    if suffix in _SUFFIXES:
        return Decimal(number) * _SUFFIXES[suffix]
    return Decimal(number + suffix)


def amounts(resources: Mapping[str, object] | None) -> Amounts:
    """A resource list of the API server's."""
    return {name: quantity(str(text)) for name, text in (resources or {}).items()}


def held(amount: Amounts, clients: int = 1) -> Held:
    """What these amounts come to.

    Args:
        amount: by resource.
        clients: so many pods share one NVIDIA GPU of the node; see `accelerator_clients`.
    """
    return Held(
        cpu_cores=float(amount.get("cpu", 0)),
        memory_bytes=min(_LARGEST_BYTES, int(amount.get("memory", 0))),
        accelerators=accelerators(amount, clients),
    )


def accelerators(amount: Amounts, clients: int) -> float:
    """Whole accelerators that these amounts come to.

    A GPU that is shared by time or by MPS is advertised several times, and each counts as its part.
    A MIG device counts as its compute slices of the seven that a GPU has (so on an A30, which has
    four, all together are 4/7); one whose name does not say its slices counts as a whole GPU.
    """
    total = Decimal(0)
    for name, count in amount.items():
        if name in _WHOLE_DEVICES:
            total += count / clients if name.startswith("nvidia.com/") else count
        elif mig := _MIG.match(name):
            total += count * Decimal(mig[1] or _MIG_SLICES) / _MIG_SLICES
    return float(total)


def accelerator_clients(labels: Mapping[str, str]) -> int:
    """How often the node of these labels advertises each of its NVIDIA GPUs; 1 for once."""
    told = [labels[name] for name in _CLIENTS if labels.get(name, "").isdecimal()]
    return max([1, *map(int, told)])


def pod_holding(pod: Object) -> Amounts:
    """What a pod holds of its node: the greater of what its kubelet has allocated to it and of what
    its containers run with, by resource; what it asks for where the kubelet does not tell.

    A resize in place is asked for first, and allocated and done later, or refused: what is asked
    but waits (Deferred) or never comes (Infeasible) holds nothing. PodRequests of
    k8s.io/component-helpers differs: it keeps free what is asked while that waits.

    Source: k8s.io/api, core/v1, ContainerStatus and PodStatus: allocatedResources, resources.
    """
    allocated = _resized(pod, lambda status: status.get("allocatedResources"))
    actuated = _resized(pod, lambda status: (status.get("resources") or {}).get("requests"))
    return _most(pod_request(allocated), pod_request(actuated))


def _resized(pod: Object, told: Callable[[Object], Mapping[str, object] | None]) -> Object:
    """The pod as if it had asked for what its status tells."""
    spec, status = pod["spec"], pod.get("status") or {}
    found = {"spec": {**spec, **_asking(spec, told(status))}}
    for own, statuses in (
        ("containers", "containerStatuses"),
        ("initContainers", "initContainerStatuses"),
    ):
        by_name = {one["name"]: told(one) for one in status.get(statuses) or []}
        found["spec"][own] = [
            {**one, **_asking(one, by_name.get(one.get("name")))} for one in spec.get(own) or []
        ]
    return found


def _asking(asking: Object, told: Mapping[str, object] | None) -> Object:
    """Its resources with these requests, of what can be resized."""
    resized = {name: told[name] for name in _RESIZABLE if told and name in told}
    requests = (asking.get("resources") or {}).get("requests")
    return {"resources": {"requests": {**(requests or {}), **resized}}} if resized else {}


def pod_request(pod: Object) -> Amounts:
    """What a pod asks for: what the scheduler keeps free for it on its node.

    The most of what its containers ask for together and of what it takes while any one init
    container runs, by resource; init containers that go on running (sidecars) count in both. What
    the pod as a whole asks for stands in place of that. Its runtime's overhead comes on top.

    Source: k8s.io/component-helpers, resource/helpers.go, PodRequests.
    """
    spec = pod["spec"]
    together = _sum(_asked(container) for container in spec.get("containers") or [])
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or []:
        with_it = _sum([sidecars, _asked(container)])
        if container.get("restartPolicy") == "Always":
            sidecars = with_it
        starting = _most(starting, with_it)
    whole = _most(_sum([together, sidecars]), starting)
    return _sum([{**whole, **_asked(spec)}, amounts(spec.get("overhead"))])


def _asked(asking: Object) -> Amounts:
    """What a container, or a pod as a whole, asks for. Where only a limit was written, the API
    server has made a request of it."""
    return amounts((asking.get("resources") or {}).get("requests"))


def _sum(several: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for one in several:
        for name, amount in one.items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total


def _most(one: Amounts, other: Amounts) -> Amounts:
    zero = Decimal(0)
    return {name: max(one.get(name, zero), other.get(name, zero)) for name in {**one, **other}}
