"""What the meter asks the API server and the kubelets for from time to time."""

from tally.errors import RunError
from tally.kube.quantities import microseconds
from tally.kube.template import Object
from tally.meter.kubelet import Kubelets
from tally.meter.metering import Meter

_CLOCK_SECONDS = 30.0
_LIST_SECONDS, _LIST_AGAIN_SECONDS = 60.0, 10.0
_PAGE = "500"
_LEASES = "apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_LEASES_SECONDS = 60
_YOUNG_MICROSECONDS = 60 * 10**6


async def clock(meter: Meter) -> float:
    """Ask for the time."""
    meter.hear(await meter.api.get("version", seconds=5.0))
    return meter.clock.next_seconds(_CLOCK_SECONDS)


async def uids(meter: Meter, kind: str) -> set[str]:
    """Of all "pods" or "nodes" that there are.

    Raises:
        Unanswered: the API server does not say.
    """
    found: set[str] = set()
    query = {"limit": _PAGE}
    while True:
        answer = await meter.api.get(f"api/v1/{kind}", query=query, seconds=30, metadata_only=True)
        meter.hear(answer)
        found.update(item["metadata"]["uid"] for item in answer.body["items"] or ())
        if not (rest := answer.body["metadata"].get("continue")):
            return found
        query = {"limit": _PAGE, "continue": rest}


async def lists(meter: Meter) -> float:
    """Find who has vanished without the watch telling it.

    Raises:
        RunError: the watch does not tell who is there either.
    """
    missing, deaf = False, 0
    for kind in ("pods", "nodes"):
        asked = meter.clock.now_microseconds()
        there = await uids(meter, kind)
        missing |= meter.known.listed(kind, there, asked)
        untold = there - (meter.known.pods if kind == "pods" else meter.known.nodes).keys()
        deaf += len(untold & meter.untold.get(kind, set()))
        meter.untold[kind] = untold
    if deaf:
        raise RunError(
            f"Kubernetes: expected its watch to tell of every pod and node, got nothing of {deaf} "
            "for a minute; restart the meter"
        )
    return _LIST_AGAIN_SECONDS if missing else _LIST_SECONDS


async def leases(meter: Meter) -> float:
    """Hear each node's signs of life, for a minute: a Lease goes within a second of its node."""
    answer = await meter.api.get(_LEASES)
    meter.hear(answer)
    meter.health.well("leases")
    for lease in answer.body["items"] or ():
        _renewed(meter, lease)
    version = str(answer.body["metadata"]["resourceVersion"])
    async for kind, lease in meter.api.watch(_LEASES, version, seconds=_LEASES_SECONDS):
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            _renewed(meter, lease)
        meter.heard_microseconds = meter.clock.now_microseconds()
    return 0.0


def _renewed(meter: Meter, lease: Object) -> None:
    renewed = microseconds(lease["spec"].get("renewTime"))
    if renewed is not None:
        told = meter.clock.now_microseconds()
        meter.known.heard(lease["metadata"]["name"], renewed, told)


async def kubelets(meter: Meter, asked: Kubelets) -> float:
    """Ask what pods use; more often where one is young, which may not last until the next time."""
    nodes = [node.object for node in meter.known.nodes.values() if not node.gone]
    young = meter.known.nodes_with_young(meter.clock.now_microseconds() - _YOUNG_MICROSECONDS)
    for sample in await asked.look(nodes, young):
        meter.known.sampled(sample)
    silent = {f"kubelet {name}": line for name, line in asked.silent().items()}
    meter.health.notice("kubelets", silent)
    return asked.often_seconds
