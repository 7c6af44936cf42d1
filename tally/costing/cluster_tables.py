"""The ledger's tables of a cluster: nodes, and what is kept of a run beside its usage."""

import json
import uuid
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Insert, String, Table, Text

from tally.costing.nodes import Node
from tally.costing.quotes import Quote, RunEvent
from tally.costing.tables import Values, metadata, upsert

_NAMESPACE = uuid.UUID("6f4e9a52-6d0b-5c0e-9d7e-7a11e0000003")

nodes = Table(
    "nodes",
    metadata,
    Column("node_life_id", String(36), primary_key=True),
    Column("node_uid", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("machine_type", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("spot", Boolean, nullable=False),
    Column("start_microseconds", BigInteger, nullable=False),
    Column("end_microseconds", BigInteger),
    Column("heartbeat_at_microseconds", BigInteger, nullable=False),
    Column("cpu_capacity_cores", Float, nullable=False),
    Column("cpu_allocatable_cores", Float, nullable=False),
    Column("memory_capacity_bytes", BigInteger, nullable=False),
    Column("memory_allocatable_bytes", BigInteger, nullable=False),
    Column("accelerator", Text, nullable=False),
    Column("accelerator_capacity", Float, nullable=False),
    Column("cpu_share", Float, nullable=False),
    Column("memory_share", Float, nullable=False),
    Column("accelerator_share", Float, nullable=False),
    Column("price_usd_per_hour", Float, nullable=False),
    Column("list_price_usd_per_hour", Float),
    Column("software_usd_per_hour", Float, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("catalogue_version", Text, nullable=False),
    Column("stop_microseconds", BigInteger, nullable=False),
    Index("nodes_stop", "stop_microseconds", "node_uid"),
)

quotes = Table(
    "quotes",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("made_at_microseconds", BigInteger, nullable=False),
    Column("low_usd", Float, nullable=False),
    Column("expected_usd", Float, nullable=False),
    Column("high_usd", Float, nullable=False),
    Column("budget_usd", Float),
    Column("document", JSON, nullable=False),
    Column("namespace", Text, primary_key=True, server_default=""),
)

events = Table(
    "events",
    metadata,
    Column("event_id", String(36), primary_key=True),
    Column("run_id", String(64), nullable=False),
    Column("at_microseconds", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("namespace", Text, primary_key=True, server_default=""),
    Index("events_run", "run_id", "at_microseconds"),
)

_NODE_NAMES = tuple(field.name for field in fields(Node))
_QUOTE_NAMES = tuple(field.name for field in fields(Quote))
_EVENT_NAMES = tuple(field.name for field in fields(RunEvent))
NODE_COLUMNS = [nodes.c[name] for name in _NODE_NAMES]
QUOTE_COLUMNS = [quotes.c[name] for name in _QUOTE_NAMES]
EVENT_COLUMNS = [events.c[name] for name in _EVENT_NAMES]


def node_values(node: Node) -> Values:
    """One row of `nodes`."""
    return {
        **asdict(node),
        "node_life_id": node.node_life_id,
        "stop_microseconds": node.stop_microseconds,
    }


def as_node(row: Iterable[Any]) -> Node:
    """A row of NODE_COLUMNS."""
    return Node(**dict(zip(_NODE_NAMES, row, strict=True)))


def quote_values(quote: Quote) -> Values:
    """One row of `quotes`."""
    return {**asdict(quote), "document": dict(quote.document)}


def as_quote(row: Iterable[Any]) -> Quote:
    """A row of QUOTE_COLUMNS."""
    return Quote(**dict(zip(_QUOTE_NAMES, row, strict=True)))


def event_id(event: RunEvent) -> str:
    """The same for every write of the same event of a namespace."""
    facts = json.dumps(dict(event.facts), sort_keys=True)
    key = "|".join((event.run_id, str(event.at_microseconds), event.kind, event.step, facts))
    return str(uuid.uuid5(_NAMESPACE, key))


def event_values(event: RunEvent) -> Values:
    """One row of `events`."""
    return {**asdict(event), "facts": dict(event.facts), "event_id": event_id(event)}


def as_event(row: Iterable[Any]) -> RunEvent:
    """A row of EVENT_COLUMNS."""
    return RunEvent(**dict(zip(_EVENT_NAMES, row, strict=True)))


def upsert_node(dialect: str) -> Insert:
    """INSERT that replaces a node's life only by what was heard of it later, or its end."""

    def later(new: Any) -> Any:
        ends = new.end_microseconds.is_not(None) & nodes.c.end_microseconds.is_(None)
        same = new.end_microseconds.is_not(None) == nodes.c.end_microseconds.is_not(None)
        heard = new.heartbeat_at_microseconds >= nodes.c.heartbeat_at_microseconds
        return ends | (same & heard)

    return upsert(dialect, nodes, later)


def upsert_quote(dialect: str) -> Insert:
    """INSERT that replaces a run's quote by a newer one."""
    return upsert(
        dialect, quotes, lambda new: new.made_at_microseconds >= quotes.c.made_at_microseconds
    )


def upsert_event(dialect: str) -> Insert:
    """INSERT of what may be there already."""
    return upsert(dialect, events)
