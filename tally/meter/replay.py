"""A timeline of pods, nodes and prices, and what the meter bills of it. Pure.

A timeline is a document of what an API server showed and when, whole in one file:

    {"zero": "2026-12-01T00:00:00Z",      all times are seconds after it
     "price_usd_per_hour": 3.6,           of each node
     "until": 3600,                       when nobody looks any more
     "events": [                          in order of time
       {"at": 0, "see": "node", "object": {…}},       as it looks from now on
       {"at": 9, "see": "pod", "object": {…}, "gone": true},   as it looked last
       {"at": 1800, "price": 7.2}]}       of each node, from now on

Between the events all is well: each node's Lease is renewed, and the meter looks, every 15 s.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tally.costing.merge import merge, newness
from tally.costing.node_shares import Shared, share_nodes
from tally.costing.nodes import Node
from tally.costing.usage import Usage
from tally.errors import SpecError
from tally.machines.priced import PricedMachine
from tally.machines.shares import OPENCOST
from tally.meter.known import Known
from tally.meter.making import HEARTBEAT_MICROSECONDS, make

_LOOK_SECONDS = HEARTBEAT_MICROSECONDS / 1e6


@dataclass
class PodCost:
    """What a pod cost: dollars of hardware and seconds, by phase and in all."""

    usd: Decimal = Decimal(0)
    seconds: float = 0.0
    phases: dict[str, dict[str, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """With dollars as numbers."""
        return {"usd": float(self.usd), "seconds": self.seconds, "phases": self.phases}


@dataclass(frozen=True)
class Replayed:
    """What a timeline came to.

    Attributes:
        pods: by name; a later pod of a name that was there before is `name#2`.
        nodes_usd: what the nodes cost while they were there.
        idle_usd, overhead_usd: what of that no pod held, and what the system kept for itself.
    """

    pods: Mapping[str, PodCost]
    nodes_usd: Decimal
    idle_usd: Decimal
    overhead_usd: Decimal

    def as_json(self) -> dict[str, Any]:
        """With dollars as numbers."""
        return {
            "pods": {name: pod.as_json() for name, pod in self.pods.items()},
            "nodes_usd": float(self.nodes_usd),
            "idle_usd": float(self.idle_usd),
            "overhead_usd": float(self.overhead_usd),
        }


def replay(timeline: Mapping[str, Any]) -> Replayed:
    """Feed a timeline to the meter, and bill what it made of it.

    Raises:
        SpecError: it is no timeline.
    """
    try:
        told = _Replay(timeline)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise SpecError(
            f"timeline: expected zero, price_usd_per_hour, until and events, got {said}; "
            "see tally/meter/replay.py for what each of them is"
        ) from error
    return told.run()


class _Replay:
    """A meter that is told what the timeline says, when it says so."""

    def __init__(self, timeline: Mapping[str, Any]) -> None:
        self._zero = round(datetime.datetime.fromisoformat(timeline["zero"]).timestamp() * 1e6)
        self._usd_per_hour = float(timeline["price_usd_per_hour"])
        self._until, self._events = float(timeline["until"]), list(timeline["events"])
        for event in self._events:
            _require_event(event)
        self._known = Known()
        self._rows: dict[str, Usage] = {}
        self._lives: dict[str, Node] = {}
        self._names: dict[str, str] = {}  # of pods, by uid

    def run(self) -> Replayed:
        at = 0.0
        for event in [*self._events, {"at": self._until}]:
            if not at <= event["at"] <= self._until:
                raise SpecError(
                    f"timeline: expected events in order of time, until {self._until:g} s at most, "
                    f"got one at {event['at']} s after {at:g} s; put them in order"
                )
            while at + _LOOK_SECONDS < event["at"]:
                at += _LOOK_SECONDS
                self._look(at)
            at = float(event["at"])
            self._tell(event, self._moment(at))
            self._look(at)
        for pod in self._known.pods.values():
            pod.is_due = True  # to its very end
        for node in self._known.nodes.values():
            node.is_due = True
        self._look(at)
        return self._billed()

    def _moment(self, seconds: float) -> int:
        return self._zero + round(seconds * 1e6)

    def _tell(self, event: Mapping[str, Any], at: int) -> None:
        if "price" in event:
            self._usd_per_hour = float(event["price"])
        elif event.get("see") == "node":
            self._known.see_node(event["object"], at, gone=bool(event.get("gone")))
        elif event.get("see") == "pod":
            meta = event["object"]["metadata"]
            self._name(meta["uid"], meta["name"])
            self._known.see_pod(event["object"], at, gone=bool(event.get("gone")))

    def _name(self, uid: str, name: str) -> None:
        if uid in self._names:
            return
        before = sum(one.partition("#")[0] == name for one in self._names.values())
        self._names[uid] = f"{name}#{before + 1}" if before else name

    def _look(self, seconds: float) -> None:
        """A turn of the meter, whose rows go where a ledger would keep them."""
        now = self._moment(seconds)
        for node in self._known.nodes.values():
            if not node.gone:
                self._known.heard(node.name, now, now)
        made = make(self._known, self._price, now, now)
        for row in made.usage:
            had = self._rows.get(row.usage_id)
            if had is None or newness(row) > newness(had):
                self._rows[row.usage_id] = row
        self._lives.update({life.node_life_id: life for life in made.nodes})

    def _price(self, labels: Mapping[str, str]) -> PricedMachine:
        return PricedMachine(
            machine_type=labels.get("node.kubernetes.io/instance-type", ""),
            provider="timeline",
            region="",
            price_region="",
            spot=False,
            price_usd_per_hour=self._usd_per_hour,
            list_price_usd_per_hour=self._usd_per_hour,
            software_usd_per_hour=0.0,
            currency="USD",
            catalogue_version="timeline",
            weights=OPENCOST,
        )

    def _billed(self) -> Replayed:
        shared = share_nodes(merge(list(self._rows.values())), list(self._lives.values()))
        idle = sum((account.idle_usd for account in shared.accounts), Decimal(0))
        overhead = sum((account.overhead_usd for account in shared.accounts), Decimal(0))
        workload = sum((account.workload_usd for account in shared.accounts), Decimal(0))
        return Replayed(self._by_pod(shared), workload + idle + overhead, idle, overhead)

    def _by_pod(self, shared: Shared) -> dict[str, PodCost]:
        found: defaultdict[str, PodCost] = defaultdict(PodCost)
        for name in self._names.values():
            found[name]
        for uid, phase, seconds, usd in _charges(shared):
            pod = found[self._names[uid]]
            pod.usd, pod.seconds = pod.usd + usd, pod.seconds + seconds
            of = pod.phases.setdefault(phase, {"seconds": 0.0, "usd": 0.0})
            of["seconds"], of["usd"] = of["seconds"] + seconds, of["usd"] + float(usd)
        return dict(found)


def _require_event(event: Mapping[str, Any]) -> None:
    float(event["at"])
    if "price" in event:
        float(event["price"])
        return
    if event["see"] not in ("pod", "node"):
        raise ValueError(f'"see": {event["see"]!r}, which is neither pod nor node')
    wanted = ("uid", "name", *(("namespace",) if event["see"] == "pod" else ()))
    for name in (*wanted, "creationTimestamp"):
        event["object"]["metadata"][name]
    if event["see"] == "pod":
        event["object"]["spec"]["containers"]


def _charges(shared: Shared) -> Iterator[tuple[str, str, float, Decimal]]:
    for charge in shared.charges:
        row = charge.usage
        seconds = (row.stop_microseconds - row.start_microseconds) / 1e6
        yield row.pod_uid, row.phase, seconds, charge.hardware_usd
