"""Pods on nodes in a real ledger, as the meter writes them."""

from dataclasses import replace
from decimal import Decimal

from tally.costing.ledger import Ledger
from tally.costing.nodes import Node
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage

SECOND = 10**6
HOUR = 3600 * SECOND
DAY = 24 * HOUR
NOON = 20_000 * DAY + 12 * HOUR  # 2024-10-04T12:00Z
GIBIBYTE = 2**30
PRICE = 0.1942


def node(name: str = "node-0", start: int = NOON - 10 * HOUR, **fields: object) -> Node:
    """A node of 4 cores and 16 GiB that is there until NOON at least."""
    usual = {
        "node_uid": f"uid-{name}",
        "name": name,
        "machine_type": "n2-standard-4",
        "provider": "gke",
        "region": "us-central1",
        "spot": False,
        "start_microseconds": start,
        "heartbeat_at_microseconds": NOON,
        "cpu_capacity_cores": 4.0,
        "cpu_allocatable_cores": 3.92,
        "memory_capacity_bytes": 16 * GIBIBYTE,
        "memory_allocatable_bytes": 13 * GIBIBYTE,
        "cpu_share": 0.65,
        "memory_share": 0.35,
        "price_usd_per_hour": PRICE,
        "catalogue_version": "2026-11-01",
    }
    return Node(**(usual | fields))


def pod(name: str, phase: str, start: int, stop: int | None, **fields: object) -> Usage:
    """An interval of a pod of run "run-a" that asks for a core and 2 GiB on node-0."""
    usual = {
        "run_id": "run-a",
        "pipeline": "cnn",
        "step": "train",
        "team": "team-a",
        "namespace": "team-a",
        "pod_uid": name,
        "node_uid": "uid-node-0",
        "container": "pod",
        "machine_type": "n2-standard-4",
        "provider": "gke",
        "region": "us-central1",
        "start_microseconds": start,
        "end_microseconds": stop,
        "heartbeat_at_microseconds": NOON if stop is None else stop,
        "cpu_request_cores": 1.0,
        "memory_request_bytes": 2 * GIBIBYTE,
        "phase": phase,
        "source": "pod",
        "price_usd_per_hour": PRICE,
        "catalogue_version": "2026-11-01",
    }
    return Usage(**(usual | fields))


def life(name: str, start: int, stop: int | None, **fields: object) -> list[Usage]:
    """A pod's whole life: 5 s in the queue, 20 s of start, then work."""
    placed, begun = start + 5 * SECOND, start + 25 * SECOND
    return [
        pod(name, "queue", start, placed, **fields | {"price_usd_per_hour": 0.0}),
        pod(name, "startup", placed, begun, **fields),
        pod(name, "work", begun, stop, **fields),
    ]


def run(run_id: str = "run-a", **fields: object) -> RunRecord:
    usual = {
        "id": run_id,
        "pipeline": "cnn",
        "state": "running",
        "created_at_microseconds": NOON - HOUR,
        "value_of_hour_usd": 2.0,
        "engine": "cluster",
        "team": "team-a",
    }
    return RunRecord(**(usual | fields))


def heard(rows: list[Usage], at: int) -> list[Usage]:
    """Open rows with a heartbeat then."""
    return [
        replace(row, heartbeat_at_microseconds=at) if row.end_microseconds is None else row
        for row in rows
    ]


def billed_usd(ledger: Ledger, run_id: str) -> Decimal:
    """Hardware and software on the ledger's bill."""
    bill = ledger.bill(run_id)
    return bill.hardware_usd + bill.software_usd
