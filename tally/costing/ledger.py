"""The ledger: where usage and runs are kept. SQLite by default; the same code on PostgreSQL."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from sqlalchemy import Row, Select, func, select, update

from tally.costing import tables
from tally.costing.bill import Bill
from tally.costing.cluster_ledger import CHUNK, ClusterLedger
from tally.costing.database import open_engine, reading, writing
from tally.costing.kept import KeptLedger
from tally.costing.profiles import ProfileLedger
from tally.costing.runs import RunRecord, several
from tally.costing.sweep import SWEPT_NAMES, sweep, uncollected
from tally.costing.usage import Usage
from tally.errors import SpecError

_SHORTEST = 6  # of a run id's characters that name it


@dataclass(frozen=True)
class Ledger(ClusterLedger, ProfileLedger, KeptLedger):
    """An open ledger. Every call is one transaction and safe beside other processes and threads.

    Every call may raise SpecError (unreadable, no permission) or RunError (disk full, locked).
    """

    def close(self) -> None:
        """Let go of the file."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write_usage(self, rows: Iterable[Usage]) -> None:
        """Write all rows or none. Writing again, or in another order, comes out the same: of two
        writes of one interval the newer stays (`merge.newness`), so an open row never replaces a
        closed one."""
        dialect = self.engine.dialect.name
        if values := tables.in_order(dialect, tables.usage, map(tables.usage_values, rows)):
            with writing(self.engine) as connection:
                connection.execute(tables.upsert_usage(dialect), values)

    def usage(self, run_ids: Iterable[str] | None = None) -> list[Usage]:
        """Rows as written, not merged, of these runs or of all."""
        query = select(*(tables.usage.c[name] for name in tables.USAGE_NAMES))
        return tables.as_usage(self._read(query, run_ids))

    def usage_sharing_nodes(self, run_id: str) -> list[Usage]:
        """This run's rows, and all rows of the runs that were on one of its nodes meanwhile."""
        return self.usage(self._neighbours([run_id]))

    def close_open_rows(self, run_id: str, attempt: int | None = None) -> None:
        """End a run's open rows (of one attempt) at their last heartbeat: their writer is gone."""
        table = tables.usage
        query = update(table).where(table.c.run_id == run_id, table.c.end_microseconds.is_(None))
        if attempt is not None:
            query = query.where(table.c.attempt == attempt)
        with writing(self.engine) as connection:
            connection.execute(query.values(end_microseconds=table.c.stop_microseconds))

    def put_run(self, record: RunRecord) -> None:
        """Write a run, over the one of that namespace and id."""
        with writing(self.engine) as connection:
            connection.execute(
                tables.upsert_run(self.engine.dialect.name), tables.run_values(record)
            )

    def update_run(self, run_id: str, namespace: str | None = None, **changes: Any) -> RunRecord:
        """Change these fields of a run, in one transaction, and return it.

        Raises:
            SpecError: no such run, or no namespace where several have one of that id.
        """
        with writing(self.engine) as connection:
            query = _named(run_id, namespace).with_for_update()
            found = _only(run_id, connection.execute(query).all())
            if found is None:
                raise _no_run(run_id)
            record = replace(found, **changes)
            connection.execute(
                tables.upsert_run(self.engine.dialect.name), tables.run_values(record)
            )
        return record

    def run(self, run_id: str, namespace: str | None = None) -> RunRecord | None:
        """The run of exactly that id, of this namespace or the only one.

        Raises:
            SpecError: no namespace where several have one of that id.
        """
        with reading(self.engine) as connection:
            return _only(run_id, connection.execute(_named(run_id, namespace)).all())

    def find_run(self, text: str, namespace: str | None = None) -> RunRecord:
        """The one run, of this namespace or of all, whose id begins or ends with `text`, 6
        characters or more of it.

        (Ids begin with the time: those of one day's runs differ in their ends.)

        Raises:
            SpecError: none or several.
        """
        wanted = text.strip().lower()
        if len(wanted) < _SHORTEST:
            raise SpecError(
                f"run: expected its id or {_SHORTEST} or more characters of its beginning or end, "
                f"got {json.dumps(text)}; `make runs` lists them"
            )
        column = tables.runs.c.id
        alike = column.startswith(wanted, autoescape=True) | column.endswith(
            wanted, autoescape=True
        )
        if namespace is not None:
            alike &= tables.runs.c.namespace == namespace
        with reading(self.engine) as connection:
            rows = connection.execute(select(*tables.RUN_COLUMNS).where(alike)).all()
        found = [tables.as_run(row) for row in rows]
        exact = [record for record in found if record.id == wanted]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if len({record.id for record in exact or found}) == 1:
            raise several(found[0].id, (record.namespace for record in exact or found))
        if not found:
            raise _no_run(text)
        raise SpecError(
            f'run: expected one run, got {len(found)} whose ids begin or end with "{text}"; '
            "give more characters (`make runs` lists them)"
        )

    def runs(self) -> list[RunRecord]:
        """All runs, newest first."""
        query = select(*tables.RUN_COLUMNS)
        with reading(self.engine) as connection:
            found = [tables.as_run(row) for row in connection.execute(query)]
        return sorted(found, key=_age)

    def bill(self, run_id: str, namespace: str | None = None) -> Bill:
        """One run's bill.

        Raises:
            SpecError: no such run, no namespace where several have one of that id, or the price of
                a machine type that it used is not known.
        """
        record = self.run(run_id, namespace)
        if record is None:
            raise _no_run(run_id)
        (bill,) = self.bills_of([record])
        if bill.unpriced:
            raise _unpriced(bill)
        return bill

    def bills(self, run_ids: Iterable[str] | None = None) -> list[Bill]:
        """The bills of the runs with these ids, or of all, in one sweep, newest first; unknown ids
        are left out.

        A run's bill is the same whichever others are asked for with it.
        """
        if run_ids is None:
            return [bill for _, bill in self.billed()]
        ids, found = sorted(set(run_ids)), list[RunRecord]()
        with reading(self.engine) as connection:
            for index in range(0, len(ids), CHUNK):
                some = tables.runs.c.id.in_(ids[index : index + CHUNK])
                rows = connection.execute(select(*tables.RUN_COLUMNS).where(some))
                found += map(tables.as_run, rows)
        return self.bills_of(sorted(found, key=_age))

    def billed(self) -> list[tuple[RunRecord, Bill]]:
        """All runs with their bills, in one sweep, newest first."""
        records = self.runs()
        return list(zip(records, self._swept(records, None), strict=True))

    def bills_of(self, records: Sequence[RunRecord]) -> list[Bill]:
        """The bill of each of these runs, in their order."""
        return self._swept(records, {record.id for record in records})

    def _swept(self, records: Sequence[RunRecord], run_ids: set[str] | None) -> list[Bill]:
        near = None if run_ids is None else self._neighbours(run_ids)
        with uncollected():
            return sweep(records, self._read_rows(SWEPT_NAMES, near), self.pod_charges(run_ids))

    def _local_rows(self, run_ids: Iterable[str]) -> list[Usage]:
        return tables.as_usage(self._read_rows(tables.USAGE_NAMES, self._neighbours(run_ids)))

    def _read_rows(self, names: Sequence[str], run_ids: Iterable[str] | None) -> Sequence[Row[Any]]:
        """These columns of what processes of one machine used, of these runs or of all."""
        query = select(*(tables.usage.c[name] for name in names))
        query = query.where(tables.usage.c.source == "local")
        return self._read(query, run_ids)

    def _read(self, query: Select[Any], run_ids: Iterable[str] | None) -> Sequence[Row[Any]]:
        with reading(self.engine) as connection:
            if run_ids is None:
                return connection.execute(query).all()
            ids = sorted(set(run_ids))
            found: list[Row[Any]] = []
            for index in range(0, len(ids), CHUNK):
                some = query.where(tables.usage.c.run_id.in_(ids[index : index + CHUNK]))
                found += connection.execute(some).all()
            return found

    def _neighbours(self, run_ids: Iterable[str]) -> set[str]:
        """These runs, and those that were on a node of theirs between their first and last row."""
        table = tables.usage
        found = set(run_ids)
        with reading(self.engine) as connection:
            for run_id in tuple(found):
                spans = connection.execute(
                    select(
                        table.c.node_uid,
                        func.min(table.c.start_microseconds),
                        func.max(table.c.stop_microseconds),
                    )
                    .where(table.c.run_id == run_id, table.c.source == "local")
                    .group_by(table.c.node_uid)
                ).all()
                for node, start, stop in spans:
                    query = select(table.c.run_id).distinct()
                    query = query.where(table.c.node_uid == node)
                    query = query.where(table.c.stop_microseconds > start)
                    query = query.where(table.c.start_microseconds < stop)
                    found.update(connection.execute(query).scalars())
        return found


def open_ledger(url: str | None = None) -> Ledger:
    """The ledger at `url`; None means $TALLY_LEDGER_URL, else ledger.db in $TALLY_HOME.

    A missing one is made, an older schema brought up to this one.

    Raises:
        SpecError: bad URL, not a database, corrupt, no permission; SchemaError: a newer Tally's.
        RunError: the disk is full, or another process holds the database for too long.
    """
    return Ledger(open_engine(url))


def _age(record: RunRecord) -> tuple[int, str]:
    return -record.created_at_microseconds, record.id


def _unpriced(bill: Bill) -> SpecError:
    names = ", ".join(bill.unpriced)
    return SpecError(
        f"bill of {bill.run_id}: expected a price of machine type {names}, got none in the "
        f"catalogue; write machine_types.{bill.unpriced[0]} into the file of TALLY_MACHINES"
    )


def _named(run_id: str, namespace: str | None) -> Select[Any]:
    query = select(*tables.RUN_COLUMNS).where(tables.runs.c.id == run_id)
    return query if namespace is None else query.where(tables.runs.c.namespace == namespace)


def _only(run_id: str, rows: Sequence[Row[Any]]) -> RunRecord | None:
    found = [tables.as_run(row) for row in rows]
    if len(found) > 1:
        raise several(run_id, (record.namespace for record in found))
    return found[0] if found else None


def _no_run(text: str) -> SpecError:
    return SpecError(
        f"run: expected the id of a run, got {json.dumps(text)}; `make runs` lists them"
    )
