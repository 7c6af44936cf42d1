"""How much of what was posted the ledger keeps already."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Engine, Text, cast, func, select

from tally.costing import cluster_tables, tables
from tally.costing.database import reading

_CHUNK = 500  # ids in one statement


@dataclass(frozen=True, slots=True)
class Kept:
    """So many rows, and so many bytes in them."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class KeptLedger:
    """The counts of an open ledger; see Ledger."""

    engine: Engine

    def events_kept(self, run_id: str) -> Kept:
        """A run's events, with the bytes of their facts as JSON."""
        table = cluster_tables.events
        size = func.sum(func.length(cast(table.c.facts, Text)))  # SQLAlchemy writes ASCII
        query = select(func.count(), size).where(table.c.run_id == run_id)
        with reading(self.engine) as connection:
            rows, found = connection.execute(query).one()
        return Kept(int(rows), int(found or 0))

    def events_known(self, event_ids: Iterable[str]) -> set[str]:
        """Those of these ids that are there."""
        return self._known(cluster_tables.events.c.event_id, event_ids)

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

    def _known(self, column: Column[Any], ids: Iterable[str]) -> set[str]:
        found: set[str] = set()
        with reading(self.engine) as connection:
            for some in _chunks(set(ids)):
                found.update(connection.execute(select(column).where(column.in_(some))).scalars())
        return found


def _chunks(ids: Collection[str]) -> Iterable[list[str]]:
    there = sorted(ids)
    return (there[index : index + _CHUNK] for index in range(0, len(there), _CHUNK))
