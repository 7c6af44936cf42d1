"""Past lives of a pipeline's pods, out of the ledger."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, case, func, select

from tally.costing.cluster_tables import events
from tally.costing.database import reading
from tally.costing.ledger import Ledger
from tally.costing.lives import Life
from tally.costing.quotes import OUT_OF_MEMORY
from tally.costing.tables import usage

MOST_LIVES = 1000
_DRIVER = "driver-"  # Kubeflow's own pod before each task; see kube/podnames.py


def past_lives(
    ledger: Ledger, pipeline: str, namespace: str, since_microseconds: int
) -> list[Life]:
    """The newest pods that worked for a pipeline, the last to end first.

    Args:
        pipeline: as pods' labels have it.
        namespace: whose pods.
        since_microseconds: those that lasted then or later, UTC.
    """
    with reading(ledger.engine) as connection:
        pods = connection.execute(_pods(pipeline, namespace, since_microseconds)).all()
        runs = sorted({row.run_id for row in pods})
        killed = select(events.c.facts).where(
            events.c.run_id.in_(runs),
            events.c.namespace == namespace,
            events.c.kind == OUT_OF_MEMORY,
        )
        limits = _limits(connection.execute(killed).scalars())
    return [_life(row, limits) for row in pods if not row.worker.startswith(_DRIVER)]


def _pods(pipeline: str, namespace: str, since: int) -> Any:
    """A row a pod. A conductor tells of its workers' pods, and of no other."""
    table = usage.c
    at_work = (table.source == "pod") & (table.phase == "work")
    seconds = (table.stop_microseconds - table.start_microseconds) / 1e6
    ended = func.max(table.stop_microseconds)
    return (
        select(
            func.max(table.run_id).label("run_id"),
            table.pod_uid,
            func.max(table.step).label("step"),
            func.max(table.worker).label("worker"),
            func.max(case((table.source == "conductor", 1), else_=0)).label("is_worker"),
            ended.label("ended"),
            func.sum(case((at_work, seconds), else_=0.0)).label("seconds"),
            func.max(table.cpu_request_cores).label("cores"),
            func.sum(case((at_work, table.cpu_used_core_seconds), else_=0.0)).label("core_seconds"),
            func.max(table.memory_peak_bytes).label("peak"),
        )
        .where(table.pipeline == pipeline, table.namespace == namespace)
        .where(table.stop_microseconds >= since, table.run_id != "", table.source != "local")
        .group_by(table.pod_uid)
        .order_by(ended.desc(), table.pod_uid)
        .limit(MOST_LIVES)
    )


def _limits(facts: Iterable[Any]) -> dict[str, int]:
    """By pod, the limit at which it was killed; a step's words are not believed to be numbers."""
    found = {}
    for fact in facts:
        uid, limit = fact.get("pod_uid"), fact.get("memory_limit_bytes")
        if isinstance(uid, str) and isinstance(limit, int):
            found[uid] = max(0, limit)
    return found


def _life(row: Row[Any], limits: dict[str, int]) -> Life:
    return Life(
        step=row.step,
        is_worker=bool(row.is_worker),
        ended_at_microseconds=row.ended,
        work_seconds=float(row.seconds),
        cpu_request_cores=row.cores,
        cpu_core_seconds=float(row.core_seconds),
        memory_peak_bytes=row.peak,
        oom_limit_bytes=limits.get(row.pod_uid, 0),
    )
