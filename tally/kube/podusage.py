"""From a pod as the API server shows it to its usage: queue, startup, work. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tally.costing.merge import heard_microseconds
from tally.costing.nodes import Node
from tally.costing.usage import Phase, Usage
from tally.kube.podlife import PodLife, pod_life
from tally.kube.podnames import pod_names
from tally.kube.quantities import Held, held, pod_holding
from tally.kube.sampling import Used
from tally.kube.template import Object

NO_HARDWARE = "none"
"""catalogue_version of rows in the phase queue: they cost nothing, and are not without a price."""

_OF_NODE = (
    "node_uid", "machine_type", "spot", "provider", "region", "price_usd_per_hour",
    "software_usd_per_hour", "currency", "catalogue_version",
)  # fmt: skip


def pod_usage(
    pod: Object,
    node: Node | None,
    *,
    now_microseconds: int,
    used: Used | None,
    gone: bool,
    before: Sequence[Usage],
    accelerator_clients: int = 1,
) -> list[Usage]:
    """All rows of a pod as it is known now: queue, startup once it has a node, work once its main
    container has started. Lengths of zero are among them.

    - queue: from its creation until it has a node. It holds no hardware.
    - startup: until the main container's first start: init containers and the pull of images are in
      it. A driver of KFP is startup as long as it lasts: it is the platform's work, not the user's.
    - work: until the last of its containers has ended, sidecars too, restarts between them. A pod
      that is being deleted holds its node until then.

    Where an end is not told (deleted by force, its node lost) it is now, or when the node was last
    heard of. Later calls move no start, and no end but towards what the pod itself tells. A row
    that changes after it was closed is heard of later than before, so that it is the newer.

    Args:
        pod: as the API server shows it, or as it looked last.
        node: the newest life of its node; None while that is not known. Where it has ended, so has
            the pod. Open rows are known to last until the node was last heard of, not longer.
        now_microseconds: when it looked so, by the cluster's clock. Of a pod that vanished while
            nobody looked: when it was last seen.
        used: by the whole pod so far; None where that is not known, and then what was stays.
        gone: the API server shows it no more.
        before: the pod's rows that were written already; what others wrote of it is passed over.
        accelerator_clients: so many pods share one GPU of the node; see `quantities`.
    """
    known = _known(before, pod["metadata"]["uid"])
    life = pod_life(pod, node, known, now_microseconds=now_microseconds, gone=gone)
    names = _names(pod, known)
    seen = now_microseconds
    rows = [_row("queue", life.created, life.scheduled or life.ended, seen, **names, **_UNHELD)]
    if life.scheduled is not None:
        if node is not None:
            seen = min(seen, node.heartbeat_at_microseconds)
        asked = held(pod_holding(pod), accelerator_clients)
        for phase, start, end in _phases(life, life.scheduled):
            on_node = _on_node(asked, node, known.get(phase))
            rows.append(_row(phase, start, end, seen, **names, **on_node))
    rows = _with_use(rows, used, known)
    return [_newer(row, known.get(row.phase)) for row in rows]


def _known(before: Sequence[Usage], uid: str) -> dict[Phase, Usage]:
    """The pod's own rows, the first of each phase."""
    known: dict[Phase, Usage] = {}
    for row in sorted(before, key=lambda row: row.start_microseconds):
        if row.source == "pod" and row.pod_uid == uid:
            known.setdefault(row.phase, row)
    return known


def _phases(life: PodLife, scheduled: int) -> list[tuple[Phase, int, int | None]]:
    """What it does on its node."""
    if life.started is None:
        return [("startup", scheduled, life.ended)]
    return [("startup", scheduled, life.started), ("work", life.started, life.ended)]


def _row(phase: Phase, start: int, end: int | None, seen: int, **others: Any) -> Usage:
    return Usage(
        phase=phase,
        start_microseconds=start,
        end_microseconds=end,
        heartbeat_at_microseconds=max(start, seen) if end is None else end,
        **others,
    )


def _names(pod: Object, known: dict[Phase, Usage]) -> dict[str, Any]:
    """Whose the rows are. The attempt is part of a row's key: a label changed later moves none."""
    names, namespace = pod_names(pod), str(pod["metadata"]["namespace"])
    return {
        "source": "pod",
        "container": "pod",
        "pod_uid": str(pod["metadata"]["uid"]),
        "run_id": names.run_id,
        "pipeline": names.pipeline,
        "step": names.step,
        "worker": names.worker,
        "attempt": next((row.attempt for row in known.values()), names.attempt),
        "namespace": namespace,
        "team": namespace,
    }


_UNHELD: dict[str, Any] = {
    "node_uid": "", "machine_type": "", "provider": "", "region": "",
    "price_usd_per_hour": 0.0, "catalogue_version": NO_HARDWARE,
}  # fmt: skip


def _on_node(asked: Held, node: Node | None, known: Usage | None) -> dict[str, Any]:
    """What it holds, and machine and price as of the row's start: those that it was written with,
    unless there were none then."""
    source: Node | Usage | None = node
    if known is not None and (node is None or (known.node_uid and not known.is_unpriced)):
        source = known
    found = {**_UNHELD, "catalogue_version": ""}
    if source is not None:
        found = {name: getattr(source, name) for name in _OF_NODE}
    accelerator, count = "", asked.accelerators
    if node is not None and count:
        accelerator = node.accelerator
    elif known is not None:  # how many share one is not known without the node
        accelerator, count = known.accelerator, known.accelerator_count
    return {
        **found,
        "cpu_request_cores": asked.cpu_cores,
        "memory_request_bytes": asked.memory_bytes,
        "accelerator": accelerator,
        "accelerator_count": count,
    }


def _with_use(rows: list[Usage], used: Used | None, known: dict[Phase, Usage]) -> list[Usage]:
    """Each row with its part of what was used: a phase that is over keeps what it had, the last has
    the rest, and the peak of the whole life."""
    left = used
    shared = []
    for index, row in enumerate(rows):
        had = known.get(row.phase)
        cpu = had.cpu_used_core_seconds if had else 0.0
        memory = had.memory_used_byte_seconds if had else 0.0
        peak = had.memory_peak_bytes if had else 0  # a meter that began anew has seen less
        if left is not None and row.phase != "queue":
            last = index == len(rows) - 1
            cpu = left.cpu_core_seconds if last else min(cpu, left.cpu_core_seconds)
            memory = left.memory_byte_seconds if last else min(memory, left.memory_byte_seconds)
            left = Used(left.cpu_core_seconds - cpu, left.memory_byte_seconds - memory)
            if last and used is not None:
                peak = max(peak, used.memory_peak_bytes)
        shared.append(
            replace(
                row,
                cpu_used_core_seconds=cpu,
                memory_used_byte_seconds=memory,
                memory_peak_bytes=peak,
            )
        )
    return shared


def _newer(row: Usage, known: Usage | None) -> Usage:
    """The row so that it replaces what is known of it; the same as that where nothing changed."""
    if known is None:
        return row
    heard = heard_microseconds(known)
    if row.heartbeat_at_microseconds > heard:
        return row
    if replace(row, heartbeat_at_microseconds=known.heartbeat_at_microseconds) == known:
        return known
    return replace(row, heartbeat_at_microseconds=heard + 1)
