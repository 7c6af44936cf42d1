"""Nodes: machines of a cluster, from when to when, what they hold and what they cost."""

import uuid
from dataclasses import dataclass

_NAMESPACE = uuid.UUID("6f4e9a52-6d0b-5c0e-9d7e-7a11e0000002")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One interval of a node's life at one price.

    A change of price, shape or labels ends it and begins the next.

    Attributes:
        node_uid: the node object's uid.
        name: as Kubernetes has it.
        machine_type, provider, region, spot: of its labels, through the catalogue.
        start_microseconds, end_microseconds: UTC; end is None while it lasts.
        heartbeat_at_microseconds: last time it was known to be there.
        cpu_capacity_cores, memory_capacity_bytes, accelerator_capacity: all that it has.
        cpu_allocatable_cores, memory_allocatable_bytes: what pods can ask for; the difference is
            the system reserve, overhead. Accelerators are always allocatable.
        accelerator: the accelerator's type as its label says it, "" for none.
        cpu_share, memory_share, accelerator_share: parts of the node's price that are for each
            resource; they add up to 1.
        price_usd_per_hour: hardware, of the whole node.
        list_price_usd_per_hour: the same before discount, of a spot machine what is paid; None in
            rows of before it was kept.
        software_usd_per_hour: licences and managed-service surcharges of the whole node.
        catalogue_version: of the file that the price is from.
    """

    node_uid: str
    name: str
    machine_type: str
    provider: str
    region: str
    spot: bool
    start_microseconds: int
    end_microseconds: int | None = None
    heartbeat_at_microseconds: int
    cpu_capacity_cores: float
    cpu_allocatable_cores: float
    memory_capacity_bytes: int
    memory_allocatable_bytes: int
    accelerator: str = ""
    accelerator_capacity: float = 0.0
    cpu_share: float
    memory_share: float
    accelerator_share: float = 0.0
    price_usd_per_hour: float
    list_price_usd_per_hour: float | None = None
    software_usd_per_hour: float = 0.0
    currency: str = "USD"
    catalogue_version: str = ""

    @property
    def node_life_id(self) -> str:
        """The same for every write of the same interval, so that a write can be repeated."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.node_uid}|{self.start_microseconds}"))

    @property
    def stop_microseconds(self) -> int:
        """Where it ends as far as is known: end, else last heartbeat; never before start."""
        stop = (
            self.heartbeat_at_microseconds
            if self.end_microseconds is None
            else self.end_microseconds
        )
        return max(stop, self.start_microseconds)
