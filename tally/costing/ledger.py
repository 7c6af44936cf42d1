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
from tally.costing.runs import RunRecord
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
        """Write a run, over the one of that id."""
        with writing(self.engine) as connection:
            connection.execute(
                tables.upsert_run(self.engine.dialect.name), tables.run_values(record)
            )

    def update_run(self, run_id: str, **changes: Any) -> RunRecord:
        """Change these fields of a run, in one transaction, and return it.

        Raises:
            SpecError: no such run.
        """
        with writing(self.engine) as connection:
            query = select(*tables.RUN_COLUMNS).where(tables.runs.c.id == run_id)
            row = connection.execute(query.with_for_update()).first()
            if row is None:
                raise _no_run(run_id)
            record = replace(tables.as_run(row), **changes)
            connection.execute(
                tables.upsert_run(self.engine.dialect.name), tables.run_values(record)
            )
        return record

    def run(self, run_id: str) -> RunRecord | None:
        """The run of exactly that id."""
        with reading(self.engine) as connection:
            query = select(*tables.RUN_COLUMNS).where(tables.runs.c.id == run_id)
            row = connection.execute(query).first()
        return None if row is None else tables.as_run(row)

    def find_run(self, text: str) -> RunRecord:
        """The one run whose id begins or ends with `text`, 6 characters or more of it.

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
        with reading(self.engine) as connection:
            rows = connection.execute(select(*tables.RUN_COLUMNS).where(alike)).all()
        found = [tables.as_run(row) for row in rows]
        exact = [record for record in found if record.id == wanted]
        if len(exact or found) == 1:
            return (exact or found)[0]
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

    def bill(self, run_id: str) -> Bill:
        """One run's bill.

        Raises:
            SpecError: no such run, or the price of a machine type that it used is not known.
        """
        found = self.bills([run_id])
        if not found:
            raise _no_run(run_id)
        if found[0].unpriced:
            raise _unpriced(found[0])
        return found[0]

    def bills(self, run_ids: Iterable[str] | None = None) -> list[Bill]:
        """The bills of these runs, or of all, in one sweep, newest first; unknown ids are left out.

        A run's bill is the same whichever others are asked for with it.
        """
        if run_ids is None:
            records, near = self.runs(), None
        else:
            found = (self.run(run_id) for run_id in set(run_ids))
            records = sorted((record for record in found if record), key=_age)
            near = self._neighbours(record.id for record in records)
        with uncollected():
            wanted = None if run_ids is None else [record.id for record in records]
            return sweep(records, self._read_rows(SWEPT_NAMES, near), self.pod_charges(wanted))

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


def _no_run(text: str) -> SpecError:
    return SpecError(
        f"run: expected the id of a run, got {json.dumps(text)}; `make runs` lists them"
    )
