"""Pods that were killed for their memory, as events of their runs. Pure."""

from collections.abc import Iterable, Mapping

from tally.costing.quotes import OUT_OF_MEMORY, RunEvent
from tally.costing.usage import Usage
from tally.kube.manifests import GANG
from tally.kube.step_reasons import end_of
from tally.meter.known import KnownPod


def oom_events(rows: Iterable[Usage], pods: Mapping[str, KnownPod]) -> list[RunEvent]:
    """An event for each of these rows that ends the life of a step's pod so.

    A gang's conductor tells of its workers itself.

    Args:
        rows: new or changed.
        pods: by uid.
    """
    found = []
    for row in rows:
        pod = pods.get(row.pod_uid)
        if row.phase != "work" or row.end_microseconds is None or not row.run_id or pod is None:
            continue
        if not pod.object["spec"] or GANG in (pod.object["metadata"].get("labels") or {}):
            continue
        end = end_of(pod.object)
        if end.cause == "oom":
            facts = {
                "pod_uid": row.pod_uid,
                "reason": end.reason,
                "memory_limit_bytes": end.memory_limit_bytes,
            }
            found.append(
                RunEvent(
                    run_id=row.run_id,
                    namespace=row.namespace,
                    at_microseconds=row.end_microseconds,
                    kind=OUT_OF_MEMORY,
                    step=row.step,
                    facts=facts,
                )
            )
    return found
