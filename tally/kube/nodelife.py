"""From a node as the API server shows it to the intervals of its life. Pure."""

from dataclasses import replace

from tally.costing.nodes import Node
from tally.kube import quantities
from tally.kube.quantities import Held
from tally.kube.template import Object
from tally.machines.labels import OWN_LABEL, TYPE_LABEL, is_spot, region_of
from tally.machines.priced import PricedMachine
from tally.machines.shares import PriceShares

_ACCELERATOR_LABELS = (
    "cloud.google.com/gke-accelerator",
    "cloud.google.com/gke-tpu-accelerator",
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
)

_OF_PRICE = (
    "price_usd_per_hour", "list_price_usd_per_hour", "software_usd_per_hour", "currency",
    "catalogue_version", "provider", "region", "cpu_share", "memory_share", "accelerator_share",
)  # fmt: skip


def node_capacity(node: Object) -> Held:
    """All that a node has; nothing of what it has not told yet."""
    return _of_status(node, "capacity")


def node_life(
    node: Object,
    priced: PricedMachine | None,
    shares: PriceShares,
    *,
    now_microseconds: int,
    gone: bool,
    last_heard_microseconds: int | None,
    before: Node | None,
) -> list[Node]:
    """The newest interval of a node's life, after the one that it ends where there is one.

    Another price or shape ends an interval and begins the next; a price where there was none
    belongs to the whole interval.

    Args:
        node: as the API server shows it, or as it looked last.
        priced: its machine as the catalogue has it; None where that has no price for it.
        shares: of its price, from its capacity.
        now_microseconds: when it looked so, by the cluster's clock.
        gone: the API server shows it no more.
        last_heard_microseconds: when its Lease was last renewed; None where it has none. A node
            that is gone ended then.
        before: the newest interval that was written of this node object.
    """
    heard = now_microseconds
    if last_heard_microseconds is not None:
        heard = min(heard, last_heard_microseconds)
    if before is None:
        created = quantities.microseconds(node["metadata"]["creationTimestamp"])
        there = _interval(node, priced, shares, created or now_microseconds, heard)
        return [_ended(there, heard) if gone else there]
    if gone:
        return [before if before.end_microseconds is not None else _ended(before, heard)]
    there = _interval(node, priced, shares, before.start_microseconds, heard)
    there = replace(there, heartbeat_at_microseconds=max(before.heartbeat_at_microseconds, heard))
    if before.end_microseconds is not None:  # it was thought gone, and that cannot be taken back
        start = max(before.end_microseconds, before.start_microseconds + 1)
        return [_from(there, start)]
    if _is_same(before, there) or now_microseconds <= before.start_microseconds:
        return [there]
    closed = replace(
        before,
        end_microseconds=now_microseconds,
        heartbeat_at_microseconds=max(now_microseconds, before.heartbeat_at_microseconds),
    )
    return [closed, _from(there, now_microseconds)]


def _from(node: Node, start: int) -> Node:
    """The same, beginning later."""
    heard = max(start, node.heartbeat_at_microseconds)
    return replace(node, start_microseconds=start, heartbeat_at_microseconds=heard)


def _ended(node: Node, heard: int) -> Node:
    """It ends when it was last heard of, which may be before a later sign of it was written."""
    end = max(heard, node.start_microseconds)
    return replace(node, end_microseconds=end, heartbeat_at_microseconds=end)


def _is_same(before: Node, there: Node) -> bool:
    """Whether nothing that money depends on has changed, a first price excepted."""
    if not before.catalogue_version and not before.price_usd_per_hour:
        before = replace(before, **{name: getattr(there, name) for name in _OF_PRICE})
    heard = there.heartbeat_at_microseconds
    return replace(before, heartbeat_at_microseconds=heard) == there


def _interval(
    node: Object, priced: PricedMachine | None, shares: PriceShares, start: int, heard: int
) -> Node:
    labels = node["metadata"].get("labels") or {}
    capacity, allocatable = node_capacity(node), _of_status(node, "allocatable")
    return Node(
        node_uid=str(node["metadata"]["uid"]),
        name=str(node["metadata"]["name"]),
        machine_type=priced.machine_type if priced else _machine_type(labels),
        provider=priced.provider if priced else "",
        region=priced.region if priced else region_of(labels),
        spot=priced.spot if priced else is_spot(labels),
        start_microseconds=start,
        heartbeat_at_microseconds=max(start, heard),
        cpu_capacity_cores=capacity.cpu_cores,
        cpu_allocatable_cores=allocatable.cpu_cores,
        memory_capacity_bytes=capacity.memory_bytes,
        memory_allocatable_bytes=allocatable.memory_bytes,
        accelerator=_accelerator(labels, capacity),
        accelerator_capacity=capacity.accelerators,
        cpu_share=shares.cpu,
        memory_share=shares.memory,
        accelerator_share=shares.accelerator,
        price_usd_per_hour=priced.price_usd_per_hour if priced else 0.0,
        list_price_usd_per_hour=priced.list_price_usd_per_hour if priced else None,
        software_usd_per_hour=priced.software_usd_per_hour if priced else 0.0,
        currency=priced.currency if priced else "USD",
        catalogue_version=priced.catalogue_version if priced else "",
    )


def _machine_type(labels: dict[str, str]) -> str:
    return labels.get(OWN_LABEL) or labels.get(TYPE_LABEL) or ""


def _accelerator(labels: dict[str, str], capacity: Held) -> str:
    if not capacity.accelerators:
        return ""
    return next((labels[name] for name in _ACCELERATOR_LABELS if labels.get(name)), "accelerator")


def _of_status(node: Object, which: str) -> Held:
    clients = quantities.accelerator_clients(node["metadata"].get("labels") or {})
    return quantities.held(quantities.amounts((node.get("status") or {}).get(which)), clients)
