"""Pods and nodes as the meter is told of them."""

import copy
import datetime
import json
from typing import Any

from helpers import TESTS
from tally.errors import SpecError
from tally.machines.priced import PricedMachine
from tally.machines.shares import OPENCOST
from tally.meter.known import Known
from tally.meter.making import Made, make

FOLDER = TESTS / "kube/pods"
PRICED = PricedMachine(
    machine_type="m", provider="p", region="r", price_region="r", spot=False,
    price_usd_per_hour=3.6, list_price_usd_per_hour=4.5, software_usd_per_hour=0.0,
    currency="USD", catalogue_version="1", weights=OPENCOST,
)  # fmt: skip
LABELS = {"tally.dev/machine-type": "m"}


def recorded(name: str, /, **meta: Any) -> dict[str, Any]:
    """A pod of a real API server, with this metadata in place of its own."""
    pod = dict(json.loads((FOLDER / f"{name}.json").read_text()))
    return {**pod, "metadata": {**pod["metadata"], **meta}}


def node(name: str = "node-0", uid: str = "node-uid", created: str = "2026-11-20T00:00:00Z") -> Any:
    shape = {"cpu": "4", "memory": "16Gi"}
    meta = {"name": name, "uid": uid, "creationTimestamp": created, "labels": LABELS}
    return copy.deepcopy({"metadata": meta, "status": {"capacity": shape, "allocatable": shape}})


def moment(text: str) -> int:
    """Microseconds of "2026-11-24T10:00:00Z"."""
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1e6)


def created(pod: dict[str, Any]) -> int:
    return moment(pod["metadata"]["creationTimestamp"])


def price(labels: Any) -> PricedMachine:
    if labels != LABELS:
        raise SpecError("machine type: expected one of the catalogue's, got none")
    return PRICED


def made(known: Known, now: int, heard: int | None = None) -> Made:
    """What is new at this time; the API server has answered until then."""
    for one in known.nodes.values():
        if not one.gone:
            at = now if heard is None else heard
            known.heard(one.name, at, at)
    return make(known, price, now, now if heard is None else heard)
