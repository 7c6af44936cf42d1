"""Pods and nodes to test with: a node at 0.40 USD an hour, and a pod on it."""

from datetime import UTC, datetime

from helpers.costing.histories import SECOND, row
from tally.costing.nodes import Node
from tally.costing.usage import Usage

GIB = 2**30
NOVEMBER_END = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * SECOND


def pod(start: int, stop: int, **fields: object) -> Usage:
    usual = {
        "source": "pod",
        "container": "pod",
        "team": "team-a",
        "namespace": "team-a",
        "pod_uid": "pod-1",
        "node_uid": "node-1",
        "machine_type": "n1-standard-4",
        "provider": "gke",
        "region": "europe-west4",
        "memory_request_bytes": 2 * GIB,
        "price_usd_per_hour": 0.4,
        "catalogue_version": "1",
    }
    return row(start, stop, **(usual | fields))


def node(start: int, stop: int, **fields: object) -> Node:
    usual = {
        "node_uid": "node-1",
        "name": "pool-a-1",
        "machine_type": "n1-standard-4",
        "provider": "gke",
        "region": "europe-west4",
        "spot": False,
        "start_microseconds": start,
        "end_microseconds": stop,
        "heartbeat_at_microseconds": stop,
        "cpu_capacity_cores": 4.0,
        "cpu_allocatable_cores": 3.9,
        "memory_capacity_bytes": 16 * GIB,
        "memory_allocatable_bytes": 15 * GIB,
        "cpu_share": 0.75,
        "memory_share": 0.25,
        "price_usd_per_hour": 0.4,
        "catalogue_version": "1",
    }
    return Node(**(usual | fields))
