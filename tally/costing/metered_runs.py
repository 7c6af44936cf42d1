"""Runs that a meter sees by their pods: when they began, and that they have ended."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, func, select, update

from tally.costing import tables
from tally.costing.cluster_ledger import ClusterLedger
from tally.costing.database import writing
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage


def begin_runs(ledger: ClusterLedger, rows: Iterable[Usage], value_of_hour_usd: float) -> None:
    """Keep a record of each run of these rows that the ledger does not know.

    Args:
        ledger: written.
        rows: of pods.
        value_of_hour_usd: what an hour of waiting is worth where nobody says it of the run.
    """
    first: dict[str, Usage] = {}
    for row in rows:
        before = first.get(row.run_id)
        if row.run_id and (before is None or row.start_microseconds < before.start_microseconds):
            first[row.run_id] = row
    ledger.put_new_runs(
        RunRecord(
            id=run_id,
            pipeline=row.pipeline,
            state="running",
            engine="cluster",
            team=row.team,
            created_at_microseconds=row.start_microseconds,
            value_of_hour_usd=value_of_hour_usd,
        )
        for run_id, row in first.items()
    )


def end_quiet_runs(ledger: ClusterLedger, before_microseconds: int) -> None:
    """Runs of which nothing has lasted since then have ended; those that have new pods go on.

    A run whose end somebody has told (succeeded, failed, …) stays as it is.
    """
    table, usage = tables.runs, tables.usage
    lasts = select(usage.c.run_id).where(
        (usage.c.end_microseconds.is_(None)) | (usage.c.stop_microseconds >= before_microseconds)
    )
    metered = update(table).where(table.c.engine == "cluster")
    with writing(ledger.engine) as connection:
        ending = _ids(connection, "running", table.c.id.not_in(lasts))
        for run_id, last in _last_of(connection, ending):
            values = {"state": "ended", "ended_at_microseconds": last}
            connection.execute(metered.where(table.c.id == run_id).values(values))
        going_on = _ids(connection, "ended", table.c.id.in_(lasts))
        if going_on:
            values = {"state": "running", "ended_at_microseconds": None}
            connection.execute(metered.where(table.c.id.in_(going_on)).values(values))


def _ids(connection: Connection, state: str, which: ColumnElement[bool]) -> list[str]:
    table = tables.runs
    query = select(table.c.id).where(table.c.engine == "cluster", table.c.state == state, which)
    return [str(row.id) for row in connection.execute(query)]


def _last_of(connection: Connection, run_ids: list[str]) -> list[tuple[str, int]]:
    usage = tables.usage
    query = select(usage.c.run_id, func.max(usage.c.stop_microseconds))
    query = query.where(usage.c.run_id.in_(run_ids)).group_by(usage.c.run_id)
    return [(run_id, last) for run_id, last in connection.execute(query).all()]
