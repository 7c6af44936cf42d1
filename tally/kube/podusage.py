"""From a pod as the API server shows it to its usage: queue, startup, work. Pure."""

from collections.abc import Iterable, Mapping, Sequence
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
    "list_price_usd_per_hour", "software_usd_per_hour", "currency", "catalogue_version",
)  # fmt: skip
_OF_POD = ("cpu_request_cores", "memory_request_bytes", "accelerator", "accelerator_count")
_FACTS = (*_OF_NODE, *_OF_POD)


def pod_usage(
    pod: Object,
    node: Node | None,
    *,
    now_microseconds: int,
    used: Used | None,
    gone: bool,
    before: Sequence[Usage],
    since_microseconds: int = 0,
    left_microseconds: int = 0,
    used_before: Used | None = None,
    accelerator_clients: int = 1,
) -> list[Usage]:
    """All rows of a pod as it is known now: queue, startup once it has a node, work once its main
    container has started. Lengths of zero are among them.

    - queue: from its creation until it has a node. It holds no hardware.
    - startup: until the main container's first start: init containers and the pull of images are in
      it. A driver of KFP is startup as long as it lasts: it is the platform's work, not the user's.
    - work: until the last of its containers has ended, sidecars too, restarts between them. A pod
      that is being deleted holds its node until then.

    A phase is one row as long as nothing changes that its cost depends on: what the pod holds, its
    node, that node's price. Where that changes the row ends and the next slice of the phase begins,
    and so it does where a pod goes on after what was taken for its end.

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
        since_microseconds: since when it holds what it holds; 0 where it did from its start.
        left_microseconds: until when the object of the node was there that it had before.
        used_before: by the whole pod until the last of these changes, and of its node's.
        accelerator_clients: so many pods share one GPU of the node; see `quantities`.
    """
    known = _known(before, pod["metadata"]["uid"])
    wholes = {phase: _whole(slices) for phase, slices in known.items()}
    life = pod_life(pod, node, wholes, now_microseconds=now_microseconds, gone=gone)
    names = _names(pod, wholes)
    seen = now_microseconds
    rows = [_row("queue", life.created, life.scheduled or life.ended, seen, **names, **_UNHELD)]
    if life.scheduled is not None:
        if node is not None:
            seen = min(seen, node.heartbeat_at_microseconds)
        asked = held(pod_holding(pod), accelerator_clients)
        for phase, start, end in _phases(life, life.scheduled):
            slices = known.get(phase, [])
            facts = _facts(asked, node, slices[-1] if slices else None)
            first = _row(phase, start, end, seen, **names, **facts)
            if slices:
                began = 0 if node is None else node.start_microseconds
                rows += _sliced(first, slices, since_microseconds, began, left_microseconds)
            else:
                rows.append(first)
    rows = _with_use(rows, used, used_before, known)
    return [_newer(row, _same(row, known)) for row in rows]


def _known(before: Sequence[Usage], uid: str) -> dict[Phase, list[Usage]]:
    """The pod's own rows by phase, in the order of time."""
    known: dict[Phase, list[Usage]] = {}
    for row in sorted(before, key=lambda row: row.start_microseconds):
        if row.source == "pod" and row.pod_uid == uid:
            known.setdefault(row.phase, []).append(row)
    return known


def _whole(slices: Sequence[Usage]) -> Usage:
    """A phase from its first slice's start to its last one's end."""
    return replace(slices[0], end_microseconds=slices[-1].end_microseconds)


def _same(row: Usage, known: Mapping[Phase, Sequence[Usage]]) -> Usage | None:
    """The same row as it was known before."""
    return next(
        (
            had
            for had in known.get(row.phase, ())
            if had.start_microseconds == row.start_microseconds
        ),
        None,
    )


def _sliced(
    now: Usage, known: Sequence[Usage], since: int, node_since: int, left: int
) -> list[Usage]:
    """The slices of a phase that has some.

    Args:
        now: the phase as one row, with what counts at present.
        known: its slices, one or more.
        since, node_since: when the pod began to hold what it holds, and its node to be what it is.
        left: until when what counted before did, at least, if it goes on after its end.
    """
    *closed, last = known
    if last.is_unpriced or not last.node_uid:  # what it is of belongs to all of it
        last = _of(last, now, _OF_NODE)
    end, reached = now.end_microseconds, last.end_microseconds
    if reached is not None and end is None:  # it goes on after that
        reached = max(reached, left)
        again = _cut(now, max(reached, since, node_since), None)
        return [*closed, _cut(last, last.start_microseconds, reached), again]
    for moment, names in sorted(((since, _OF_POD), (node_since, _OF_NODE))):
        begun, same = last.start_microseconds, _of(now, last, _FACTS)
        changed = _of(same, now, names)
        if moment <= begun:  # the price that it was written with stays
            last = _cut(changed if names == _OF_POD else same, begun, end)
        elif changed == same or (end is not None and end <= moment):
            last = _cut(same, begun, end)
        else:
            closed.append(_cut(same, begun, moment))
            last = _cut(changed, moment, end)
    return [*closed, last]


def _of(row: Usage, other: Usage, names: Iterable[str]) -> Usage:
    """The row with these facts of the other."""
    return replace(row, **{name: getattr(other, name) for name in names})


def _cut(row: Usage, start: int, end: int | None) -> Usage:
    heard = row.heartbeat_at_microseconds if end is None else end
    return replace(
        row,
        start_microseconds=start,
        end_microseconds=None if end is None else max(start, end),
        heartbeat_at_microseconds=max(start, heard),
    )


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


def _names(pod: Object, known: Mapping[Phase, Usage]) -> dict[str, Any]:
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


def _facts(asked: Held, node: Node | None, known: Usage | None) -> dict[str, Any]:
    """What its cost depends on: what it holds, and of which machine at which price.

    Args:
        asked: what it holds.
        node: None where it is not known; then what was known of it stays.
        known: the last slice that was written.
    """
    source = known if node is None and known is not None else node
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


def _with_use(
    rows: list[Usage],
    used: Used | None,
    used_before: Used | None,
    known: Mapping[Phase, Sequence[Usage]],
) -> list[Usage]:
    """Each row with its part of what was used: one that is over keeps what it had, one that is cut
    now has what was used until then, the last has the rest, and the peak of the whole life."""
    left, shared = used, []
    for index, row in enumerate(rows):
        had = _same(row, known)
        cpu = had.cpu_used_core_seconds if had else 0.0
        memory = had.memory_used_byte_seconds if had else 0.0
        peak = had.memory_peak_bytes if had else 0  # a meter that began anew has seen less
        if left is not None and used is not None and row.phase != "queue":
            if index == len(rows) - 1:
                cpu, memory = left.cpu_core_seconds, left.memory_byte_seconds
                peak = max(peak, used.memory_peak_bytes)
            elif used_before and had and had.end_microseconds is None and _is_cut(rows, index):
                others = used.cpu_core_seconds - left.cpu_core_seconds
                cpu = max(cpu, used_before.cpu_core_seconds - others)
                others = used.memory_byte_seconds - left.memory_byte_seconds
                memory = max(memory, used_before.memory_byte_seconds - others)
            cpu = min(cpu, left.cpu_core_seconds)
            memory = min(memory, left.memory_byte_seconds)
            left = Used(left.cpu_core_seconds - cpu, left.memory_byte_seconds - memory)
        shared.append(
            replace(
                row,
                cpu_used_core_seconds=cpu,
                memory_used_byte_seconds=memory,
                memory_peak_bytes=peak,
            )
        )
    return shared


def _is_cut(rows: Sequence[Usage], index: int) -> bool:
    """Whether the next row goes on with the same phase."""
    return rows[index + 1].phase == rows[index].phase


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
