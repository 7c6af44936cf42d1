"""The ledger's tables, and rows of them as the dataclasses of this room."""

import operator
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from itertools import repeat
from typing import Any, TypeAlias

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Insert,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from tally.costing.merge import heard_microseconds
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage

SCHEMA = 7
"""The newest revision in migrations/versions; change it with them only."""

Values: TypeAlias = dict[str, Any]

metadata = MetaData()

usage = Table(
    "usage",
    metadata,
    Column("usage_id", String(36), primary_key=True),
    Column("run_id", String(64), nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("team", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("pod_uid", Text, nullable=False),
    Column("node_uid", Text, nullable=False),
    Column("container", Text, nullable=False),
    Column("machine_type", Text, nullable=False),
    Column("spot", Boolean, nullable=False),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("start_microseconds", BigInteger, nullable=False),
    Column("end_microseconds", BigInteger),
    Column("heartbeat_at_microseconds", BigInteger, nullable=False),
    Column("cpu_request_cores", Float, nullable=False),
    Column("cpu_used_core_seconds", Float, nullable=False),
    Column("memory_request_bytes", BigInteger, nullable=False),
    Column("memory_used_byte_seconds", Float, nullable=False),
    Column("memory_peak_bytes", BigInteger, nullable=False, server_default="0"),
    Column("accelerator", Text, nullable=False),
    Column("accelerator_count", Float, nullable=False),
    Column("wait_seconds", Float, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("source", String(16), nullable=False),
    Column("confirmed", Boolean, nullable=False),
    Column("price_usd_per_hour", Float, nullable=False),
    Column("list_price_usd_per_hour", Float),
    Column("software_usd_per_hour", Float, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("catalogue_version", Text, nullable=False),
    # what Usage computes, kept so that "who was on this node then" is one look into an index
    Column("stop_microseconds", BigInteger, nullable=False),
    Index("usage_run", "run_id", "node_uid", "start_microseconds", "stop_microseconds"),
    Index("usage_node", "node_uid", "stop_microseconds", "start_microseconds", "run_id"),
    Index("usage_pod", "pod_uid"),
    Index("usage_stop", "stop_microseconds"),
    Index("usage_pipeline", "pipeline", "namespace", "stop_microseconds"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at_microseconds", BigInteger, nullable=False),
    Column("value_of_hour_usd", Float, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("engine", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("ended_at_microseconds", BigInteger),
    Column("attempt", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("examples_trained", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("words", JSON, nullable=False, server_default="{}"),
    Column("namespace", Text, primary_key=True, server_default=""),  # "": on a machine of its own
    Index("runs_created", "created_at_microseconds"),
)

USAGE_NAMES = tuple(field.name for field in fields(Usage))
_RUN_NAMES = tuple(field.name for field in fields(RunRecord))
RUN_COLUMNS = [runs.c[name] for name in _RUN_NAMES]


def usage_values(row: Usage) -> Values:
    """One row of `usage`; its heartbeat no earlier than its end."""
    return {
        **{name: getattr(row, name) for name in USAGE_NAMES},
        "heartbeat_at_microseconds": heard_microseconds(row),
        "usage_id": row.usage_id,
        "stop_microseconds": row.stop_microseconds,
    }


def as_usage(rows: Iterable[Sequence[Any]], names: Sequence[str] = USAGE_NAMES) -> list[Usage]:
    """Rows of `usage` whose columns are `names`; what is not among them gets Usage's default, "" if
    it has none.

    Column by column: two to three times as fast as a hundred thousand calls of Usage(…).
    """
    columns = list(zip(*rows, strict=True))
    if not columns:
        return []
    made: list[Usage] = [object.__new__(Usage) for _ in columns[0]]
    for field in fields(Usage):
        values: Iterable[Any] = repeat("" if field.default is MISSING else field.default)
        if field.name in names:
            values = columns[names.index(field.name)]
            if field.type is str:  # one object for each word, not one a row: half of the memory
                words: dict[str, str] = {}
                values = map(words.setdefault, values, values)
        deque(map(getattr(Usage, field.name).__set__, made, values), maxlen=0)
    return made


def run_values(record: RunRecord) -> Values:
    """One row of `runs`."""
    return {
        **asdict(record),
        "namespace": record.namespace,
        "spec": dict(record.spec),
        "metrics": dict(record.metrics),
        "words": dict(record.words),
    }


def as_run(row: Iterable[Any]) -> RunRecord:
    """A row of RUN_COLUMNS."""
    return RunRecord(**dict(zip(_RUN_NAMES, row, strict=True)))


def upsert_usage(dialect: str) -> Insert:
    """INSERT that replaces what is there only by what is newer: `merge.newness`, in SQL."""
    return upsert(dialect, usage, lambda new: _newness(new) > _newness(usage.c))


def upsert(dialect: str, table: Table, newer: Callable[[Any], Any] | None = None) -> Insert:
    """INSERT that replaces the row of the same primary key where `newer` says so of the new."""
    insert: Any = _INSERTS[dialect](table)
    keys = [column.name for column in table.primary_key.columns]
    names = [column.name for column in table.columns if column.name not in keys]
    statement: Insert = insert.on_conflict_do_update(
        index_elements=keys,
        set_={name: insert.excluded[name] for name in names},
        where=None if newer is None else newer(insert.excluded),
    )
    return statement


def in_order(dialect: str, table: Table, values: Iterable[Values]) -> list[Values]:
    """Rows to write. On PostgreSQL by primary key: writers that lock rows in the same order never
    wait in a circle. SQLite has one writer at a time."""
    if dialect == "sqlite":
        return list(values)
    keys = [column.name for column in table.primary_key.columns]
    return sorted(values, key=operator.itemgetter(*keys))


def insert_new(dialect: str, table: Table) -> Insert:
    """INSERT of rows whose primary keys are not there; the others stay as they are."""
    statement: Insert = _INSERTS[dialect](table).on_conflict_do_nothing()
    return statement


def _newness(columns: Any) -> Any:
    end = columns.end_microseconds
    return tuple_(
        end.is_not(None).cast(Integer),
        columns.heartbeat_at_microseconds,
        func.coalesce(-end, 0),
        columns.cpu_used_core_seconds,
        columns.memory_used_byte_seconds,
    )


def upsert_run(dialect: str) -> Insert:
    """INSERT that replaces the run of that namespace and id."""
    return upsert(dialect, runs)


_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
