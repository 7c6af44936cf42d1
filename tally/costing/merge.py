"""From rows as written, by several and more than once, to intervals that never overlap. Pure."""

import heapq
import itertools
import math
import operator
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tally.costing.usage import PHASES, Usage

_START = operator.attrgetter("start_microseconds")
_SOURCE = operator.attrgetter("source")


def merge(rows: Sequence[Usage]) -> list[Usage]:
    """The intervals that are charged: of one pod, and of one worker of a machine (run, step,
    worker, namespace), none overlaps another.

    - Several writes of one interval count once, the newest of them (`newness`), with the highest
      peak of memory that any of them saw.
    - Open rows end at their heartbeat; rows without length go.
    - A pod's rows own start, end and resources; a conductor's only say which part of the pod's
      work was restart. Where a pod has no row the conductor's bounds count, unconfirmed.
    - What still overlaps belongs to the later attempt, then generation, then start, then to
      restart before work: the row that gives way is cut, its figures shared by time. Pods never
      give way to one another: one that is ending and the one that replaces it are both held.

    One row stands for one pod, its containers summed.

    Returns:
        Sorted by run, step, worker, pod and start; merging them again changes nothing.
    """
    workers: dict[tuple[str, ...], list[Usage]] = defaultdict(list)
    for row in rows:
        workers[row.run_id, row.step, row.worker, row.namespace].append(row)
    merged: list[Usage] = []
    for key in sorted(workers):
        for own in _holders(_confirm(workers[key])):
            merged += _settle(own)
    return merged


def _holders(rows: list[Usage]) -> list[list[Usage]]:
    """One worker's rows by who held what: each pod apart, all else together."""
    if all(row.source != "pod" for row in rows):
        return [rows]
    holders: dict[str, list[Usage]] = defaultdict(list)
    for row in rows:
        holders[row.pod_uid if row.source == "pod" else ""].append(row)
    return [holders[uid] for uid in sorted(holders)]


def split_lost(
    rows: Sequence[Usage],
    run_id: str,
    step: str,
    saved_at_microseconds: int | None,
    attempt_before: int,
) -> list[Usage]:
    """Turn work that died with its process into restart, when a run resumes.

    What rows of the phase work (the step's own and its workers') hold after the checkpoint is done
    again: each becomes the same row ended at the checkpoint, plus a restart row from there to its
    end. Figures are shared by time. A row wholly after the checkpoint keeps its key with zero
    length (merge drops it) beside a restart row of its whole time. The shortened row keeps a
    heartbeat at its old end, which makes it newer than the row it replaces (`newness`); so writing
    the result, twice, or before a late write of the old row, comes out the same.

    Args:
        rows: raw, as the ledger holds them; others than this step's are passed over.
        saved_at_microseconds: when the checkpoint that the run resumes from was taken; None where
            there is none and all is lost.
        attempt_before: rows of attempts below this one are split: the attempt that resumes.

    Returns:
        Only the rows to write; none where nothing was lost.
    """
    changed = []
    for row in _collapse(rows):
        start, stop = row.start_microseconds, row.stop_microseconds
        theirs = row.run_id == run_id and row.step == step and row.attempt < attempt_before
        cut = start if saved_at_microseconds is None else max(start, saved_at_microseconds)
        if theirs and row.phase == "work" and cut < stop:
            known = max(row.heartbeat_at_microseconds, stop)
            kept = replace(part(row, start, cut), heartbeat_at_microseconds=known)
            changed += [kept, replace(part(row, cut, stop), phase="restart")]
    return changed


def newness(row: Usage) -> tuple[bool, int, int, float, float]:
    """Of two writes of one interval the greater is true: closed, heard of last, shortest.

    A row known to end later than its last heartbeat was heard of then.
    """
    end = row.end_microseconds
    return (
        end is not None,
        heard_microseconds(row),
        0 if end is None else -end,
        row.cpu_used_core_seconds,
        row.memory_used_byte_seconds,
    )


def heard_microseconds(row: Usage) -> int:
    """When the interval was last heard of: its heartbeat, or its end where that is later."""
    heartbeat, end = row.heartbeat_at_microseconds, row.end_microseconds
    return heartbeat if end is None or end < heartbeat else end


def _collapse(rows: Iterable[Usage]) -> list[Usage]:
    """One row for each interval: the newest. The key is that of usage_id, without its hash."""
    newest: dict[tuple[Any, ...], Usage] = {}
    for row in rows:
        key = (
            row.source, row.pod_uid, row.container, row.attempt, row.phase, row.start_microseconds,
        )  # fmt: skip
        other = newest.get(key)
        if other is not None:
            row = _newer(other, row)
        newest[key] = row
    return list(newest.values())


def _newer(one: Usage, other: Usage) -> Usage:
    newer, older = (other, one) if newness(other) > newness(one) else (one, other)
    if newer.memory_peak_bytes >= older.memory_peak_bytes:
        return newer
    return replace(newer, memory_peak_bytes=older.memory_peak_bytes)


def _confirm(rows: list[Usage]) -> list[Usage]:
    """One worker's rows with the conductor's worked into the pods', or left, unconfirmed."""
    if "conductor" not in map(_SOURCE, rows):
        return rows
    rows = _collapse(rows)
    pods = {row.pod_uid for row in rows if row.source == "pod"}
    told: dict[str, list[Usage]] = defaultdict(list)
    kept = []
    for row in rows:
        if row.source != "conductor":
            kept.append(row)
        elif row.pod_uid in pods:
            told[row.pod_uid].append(row)
        else:
            kept.append(replace(row, confirmed=False))
    works: dict[str, list[Usage]] = defaultdict(list)
    for row in sorted(kept, key=_START):
        if row.source == "pod" and row.phase == "work" and row.pod_uid in told:
            works[row.pod_uid].append(row)
    split = [row for row in kept if row.phase != "work" or row.pod_uid not in works]
    for uid, own in works.items():
        bounds = [-math.inf, *(row.start_microseconds for row in own[1:]), math.inf]
        for row, (begin, end) in zip(own, itertools.pairwise(bounds), strict=True):
            split += _split_work(row, _between(_settle(told[uid]), begin, end))
    return split


def _between(rows: Iterable[Usage], begin: float, end: float) -> list[Usage]:
    """What of rows that do not overlap is between two moments."""
    found = []
    for row in rows:
        start = max(row.start_microseconds, begin)
        stop = min(row.stop_microseconds, end)
        if start < stop:
            found.append(part(row, int(start), int(stop)))
    return found


def _split_work(pod: Usage, told: Sequence[Usage]) -> list[Usage]:
    """A pod's work cut where the conductor, whose rows don't overlap, says restart; its waits."""
    pod = replace(pod, wait_seconds=pod.wait_seconds + sum(row.wait_seconds for row in told))
    parts, reached = [], pod.start_microseconds
    for row in told:
        start = max(row.start_microseconds, pod.start_microseconds)
        stop = min(row.stop_microseconds, pod.stop_microseconds)
        if row.phase == "restart" and start < stop:
            parts += [part(pod, reached, start)] if reached < start else []
            parts.append(replace(part(pod, start, stop), phase="restart"))
            reached = stop
    if reached < pod.stop_microseconds or not parts:
        parts.append(part(pod, reached, pod.stop_microseconds))
    return parts


def _settle(rows: list[Usage]) -> list[Usage]:
    """One worker's rows, closed, without overlap, by start."""
    rows.sort(key=_START)
    settled: list[Usage] = []
    reached: float = -math.inf
    for row in rows:
        start, stop = row.start_microseconds, row.stop_microseconds
        if start < reached or start == stop:
            return _give_way(_collapse(rows))
        settled.append(row if row.end_microseconds == stop else part(row, start, stop))
        reached = stop
    return settled


def _give_way(rows: list[Usage]) -> list[Usage]:
    """Rows cut so that each moment goes to the highest in rank of those that last then."""
    there = sorted(
        (row for row in rows if row.stop_microseconds > row.start_microseconds), key=_rank
    )
    by_start = sorted(range(len(there)), key=lambda index: there[index].start_microseconds)
    bounds = {row.start_microseconds for row in there} | {row.stop_microseconds for row in there}
    lasting: list[int] = []  # a heap: the highest rank first
    pieces: list[tuple[int, int, int]] = []
    entered = 0
    for start, stop in itertools.pairwise(sorted(bounds)):
        while entered < len(there) and there[by_start[entered]].start_microseconds <= start:
            heapq.heappush(lasting, -by_start[entered])
            entered += 1
        while lasting and there[-lasting[0]].stop_microseconds <= start:
            heapq.heappop(lasting)
        if lasting:
            owner = -lasting[0]
            if pieces and pieces[-1][0] == owner and pieces[-1][2] == start:
                start = pieces.pop()[1]
            pieces.append((owner, start, stop))
    return [part(there[owner], start, stop) for owner, start, stop in pieces]


def _rank(row: Usage) -> tuple[Any, ...]:
    """Who owns a moment that two rows of one worker claim: the greater."""
    phase, start = PHASES.index(row.phase), row.start_microseconds
    holder = row.pod_uid, row.container, row.source  # only so that no order of rows matters
    return row.attempt, row.generation, start, phase, holder


def part(row: Usage, start: int, stop: int) -> Usage:
    """The row from start to stop, closed, with its share of the figures."""
    length = row.stop_microseconds - row.start_microseconds
    if stop - start == length:
        return row if row.end_microseconds == stop else replace(row, end_microseconds=stop)
    share = (stop - start) / length
    return replace(
        row,
        start_microseconds=start,
        end_microseconds=stop,
        cpu_used_core_seconds=row.cpu_used_core_seconds * share,
        memory_used_byte_seconds=row.memory_used_byte_seconds * share,
        wait_seconds=row.wait_seconds * share,
    )
