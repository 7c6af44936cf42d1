"""What the ledger keeps of runs beside their usage: quotes, events, and how much of them."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    Insert,
    Table,
    Text,
    cast,
    func,
    select,
)

from tally.costing import cluster_tables, tables
from tally.costing.database import reading, writing
from tally.costing.quotes import Kept, Quote, RunEvent
from tally.costing.runs import several

_CHUNK = 500  # ids in one statement
_QUOTES, _EVENTS = cluster_tables.quotes, cluster_tables.events


@dataclass(frozen=True)
class KeptLedger:
    """Quotes, events and counts of an open ledger; see Ledger.

    Where a namespace may be left out, the only run of that id is meant; with several it is a
    SpecError.
    """

    engine: Engine

    def put_quote(self, quote: Quote) -> None:
        """Keep a run's quote, in place of an older one."""
        values = [cluster_tables.quote_values(quote)]
        write_rows(self.engine, cluster_tables.quotes, cluster_tables.upsert_quote, values)

    def quote(self, run_id: str, namespace: str | None = None) -> Quote | None:
        """A run's newest quote."""
        query = select(*cluster_tables.QUOTE_COLUMNS).where(_is_of(_QUOTES, run_id, namespace))
        with reading(self.engine) as connection:
            found = [cluster_tables.as_quote(row) for row in connection.execute(query)]
        if len(found) > 1:
            raise several(run_id, (quote.namespace for quote in found))
        return found[0] if found else None

    def quotes(self) -> list[Quote]:
        """Every run's newest quote, the newest first."""
        query = select(*cluster_tables.QUOTE_COLUMNS)
        query = query.order_by(_QUOTES.c.made_at_microseconds.desc())
        with reading(self.engine) as connection:
            return [cluster_tables.as_quote(row) for row in connection.execute(query)]

    def write_events(self, events: Iterable[RunEvent]) -> None:
        """Keep what happened; the same event twice is one."""
        values = map(cluster_tables.event_values, events)
        write_rows(self.engine, cluster_tables.events, cluster_tables.upsert_event, values)

    def events(
        self,
        run_id: str,
        namespace: str | None = None,
        kinds: Collection[str] = (),
        since_microseconds: int = 0,
    ) -> list[RunEvent]:
        """What happened in a run, in order: of these kinds, or all, at this time (UTC) or later."""
        query = select(*cluster_tables.EVENT_COLUMNS).where(_is_of(_EVENTS, run_id, namespace))
        query = query.where(_EVENTS.c.at_microseconds >= since_microseconds)
        if kinds:
            query = query.where(_EVENTS.c.kind.in_(kinds))
        query = query.order_by(_EVENTS.c.at_microseconds, _EVENTS.c.event_id)
        with reading(self.engine) as connection:
            found = [cluster_tables.as_event(row) for row in connection.execute(query)]
        if len(namespaces := {event.namespace for event in found}) > 1:
            raise several(run_id, namespaces)
        return found

    def events_kept(self, run_id: str, namespace: str = "") -> Kept:
        """A run's events, with the bytes of their facts as JSON."""
        size = func.sum(func.length(cast(_EVENTS.c.facts, Text)))  # SQLAlchemy writes ASCII
        query = select(func.count(), size).where(_is_of(_EVENTS, run_id, namespace))
        with reading(self.engine) as connection:
            rows, found = connection.execute(query).one()
        return Kept(int(rows), int(found or 0))

    def events_known(self, event_ids: Iterable[str], namespace: str = "") -> set[str]:
        """Those of these ids that are there, in this namespace."""
        return self._known(_EVENTS.c.event_id, event_ids, _EVENTS.c.namespace == namespace)

    def usage_known(self, usage_ids: Iterable[str]) -> set[str]:
        """Those of these ids that are there."""
        return self._known(tables.usage.c.usage_id, usage_ids)

    def conducted_kept(self, pod_uids: Iterable[str]) -> dict[str, int]:
        """How many rows conductors have told of each of these pods, where any."""
        table = tables.usage
        found: dict[str, int] = {}
        with reading(self.engine) as connection:
            for some in _chunks(set(pod_uids)):
                query = select(table.c.pod_uid, func.count()).group_by(table.c.pod_uid)
                query = query.where(table.c.pod_uid.in_(some), table.c.source == "conductor")
                found.update((uid, rows) for uid, rows in connection.execute(query))
        return found

    def _known(
        self, column: Column[Any], ids: Iterable[str], *further: ColumnElement[bool]
    ) -> set[str]:
        found: set[str] = set()
        with reading(self.engine) as connection:
            for some in _chunks(set(ids)):
                query = select(column).where(column.in_(some), *further)
                found.update(connection.execute(query).scalars())
        return found


def write_rows(
    engine: Engine,
    table: Table,
    statement: Callable[[str], Insert],
    values: Iterable[tables.Values],
) -> None:
    """All or none of them, by a statement for the database's dialect."""
    dialect = engine.dialect.name
    if rows := tables.in_order(dialect, table, values):
        with writing(engine) as connection:
            connection.execute(statement(dialect), rows)


def _is_of(table: Table, run_id: str, namespace: str | None) -> ColumnElement[bool]:
    own = table.c.run_id == run_id
    return own if namespace is None else own & (table.c.namespace == namespace)


def _chunks(ids: Collection[str]) -> Iterable[list[str]]:
    there = sorted(ids)
    return (there[index : index + _CHUNK] for index in range(0, len(there), _CHUNK))
