"""Usage: who held what, from when to when. One row an interval; the ledger keeps them."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from tally.costing.runs import RunKey

Phase = Literal["queue", "startup", "work", "restart"]
PHASES: tuple[Phase, ...] = get_args(Phase)
"""In the order in which a life goes through them."""

Source = Literal["local", "pod", "conductor"]

_NAMESPACE = uuid.UUID("6f4e9a52-6d0b-5c0e-9d7e-7a11e0000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One interval of one holder of resources.

    Attributes:
        run_id, pipeline, step: whose it is; run_id is "" for pods that belong to no run.
        worker: name inside the step ("0", "1", …); "" is the step's own process, or submit's. Of a
            KFP pod the number of its Argo node, so that pods of a loop are told apart.
        attempt: 1 for the first life of the run, one more for each resume.
        generation: of the gang; 0 outside one.
        team, namespace: who pays.
        pod_uid: the pod's uid, or `host:pid:boot` of a local process.
        node_uid: the node, or the machine's boot-independent id.
        container: the container's name, or the program's part ("submit", "step", "worker").
        start_microseconds, end_microseconds: UTC; end is None while it lasts.
        heartbeat_at_microseconds: last time it was known to last; where a crash left the row open,
            the next reader ends it there.
        cpu_request_cores, memory_request_bytes: held, whether used or not.
        cpu_used_core_seconds, memory_used_byte_seconds: really used.
        memory_peak_bytes: the most that was seen held at once; 0 where nobody looked.
        wait_seconds: time in a barrier.
        accelerator, accelerator_count: asked for; a part of one where it is shared.
        phase: queue (no hardware cost), startup, work, restart (work done again, or the start of a
            later life).
        confirmed: False where no pod row backs a conductor's.
        price_usd_per_hour: hardware, of the whole machine locally, as of start.
        list_price_usd_per_hour: the same before discount, of a spot machine what is paid; None in
            rows of before it was kept.
        software_usd_per_hour: licences and managed-service surcharges, as of start.
    """

    run_id: str
    pipeline: str
    step: str
    worker: str = ""
    attempt: int = 1
    generation: int = 0
    team: str = "local"
    namespace: str = "local"
    pod_uid: str
    node_uid: str
    container: str
    machine_type: str = "local"
    spot: bool = False
    provider: str = "local"
    region: str = "local"
    start_microseconds: int
    end_microseconds: int | None = None
    heartbeat_at_microseconds: int
    cpu_request_cores: float = 0.0
    cpu_used_core_seconds: float = 0.0
    memory_request_bytes: int = 0
    memory_used_byte_seconds: float = 0.0
    memory_peak_bytes: int = 0
    accelerator: str = ""
    accelerator_count: float = 0.0
    wait_seconds: float = 0.0
    phase: Phase
    source: Source = "local"
    confirmed: bool = True
    price_usd_per_hour: float
    list_price_usd_per_hour: float | None = None
    software_usd_per_hour: float = 0.0
    currency: str = "USD"
    catalogue_version: str = ""

    @property
    def is_unpriced(self) -> bool:
        """Whether the catalogue had no price for the machine when this was written."""
        return not self.catalogue_version and not self.price_usd_per_hour

    @property
    def run_key(self) -> RunKey:
        """Of the run whose it is: of a pod its own namespace's, whatever its label says."""
        return "" if self.source == "local" else self.namespace, self.run_id

    @property
    def usage_id(self) -> str:
        """The same for every write of the same interval, so that a write can be repeated."""
        key = (
            self.source, self.pod_uid, self.container, self.attempt, self.phase,
            self.start_microseconds,
        )  # fmt: skip
        return str(uuid.uuid5(_NAMESPACE, "|".join(map(str, key))))

    @property
    def stop_microseconds(self) -> int:
        """Where it ends as far as is known: end, else last heartbeat; never before start."""
        stop = (
            self.heartbeat_at_microseconds
            if self.end_microseconds is None
            else self.end_microseconds
        )
        return max(stop, self.start_microseconds)


def in_order_of_life(rows: Iterable[Usage]) -> list[Usage]:
    """A pod's rows as it lived them. Times alone do not say that: Kubernetes tells whole seconds,
    and a pod can be made, placed and started within one."""
    return sorted(rows, key=lambda row: (row.start_microseconds, PHASES.index(row.phase)))
