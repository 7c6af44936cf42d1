"""Who pays for a node that pods share: each for what it asked for or used, whichever is more. Pure.

At every moment a pod holds max(request, usage) of each resource (OpenCost's rule). Its share of the
node is the sum, over CPU, memory and accelerators, of the part of the node's price that is for the
resource times the part of the resource that it holds. The maximum is taken once over each slice of
a pod's life, in which what it asks for, its node and the price stay as they are, and spread over it
evenly, so that cutting a life into phases changes nothing. Where all pods of a
node together hold more than it can give, what they hold above their requests is scaled down to fit.

What nobody holds is idle; what pods cannot ask for, the system's reserve, is overhead. Shares are
whole billionths, rounded down, so that idle is never negative and all three add up exactly.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from tally.costing.allocation import Charge, usd
from tally.costing.nodes import Node
from tally.costing.usage import Usage

_WHOLE = 10**9  # parts of a node
_MICRO = 10**6  # parts of a core and of an accelerator

Window = tuple[int, int]
"""From when to when, in microseconds UTC."""


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """Where a node's time went; the three parts add up to its life exactly.

    Attributes:
        node: at one price.
        life_microseconds: in the window that was asked for.
        workload_microseconds: of pods, of runs and of others.
        overhead_microseconds: the system's reserve.
        idle_microseconds: nobody's.
    """

    node: Node
    life_microseconds: int
    workload_microseconds: int
    overhead_microseconds: int
    idle_microseconds: int

    @property
    def workload_usd(self) -> Decimal:
        """Hardware that pods paid for."""
        return usd(self.workload_microseconds, self.node.price_usd_per_hour)

    @property
    def overhead_usd(self) -> Decimal:
        """Hardware that the system kept for itself."""
        return usd(self.overhead_microseconds, self.node.price_usd_per_hour)

    @property
    def idle_usd(self) -> Decimal:
        """Hardware that nobody held."""
        return usd(self.idle_microseconds, self.node.price_usd_per_hour)


@dataclass(frozen=True)
class Shared:
    """Charges in the order of the rows, and an account of each node's life."""

    charges: list[Charge]
    accounts: list[NodeAccount]


class _Held(NamedTuple):
    """Of one resource each: millionths of cores and accelerators, bytes."""

    cpu: int
    memory: int
    accelerator: int


class _Holder(NamedTuple):
    """What a row holds: asked for, and above that."""

    asked: _Held
    above: _Held


class _Shape:
    """A node's resources as whole numbers, and their parts of its price."""

    def __init__(self, node: Node) -> None:
        cpu, memory = round(node.cpu_share * _WHOLE), round(node.memory_share * _WHOLE)
        self.weights = _Held(cpu, memory, _WHOLE - cpu - memory)
        accelerators = round(node.accelerator_capacity * _MICRO)
        self.capacity = _Held(
            round(node.cpu_capacity_cores * _MICRO), node.memory_capacity_bytes, accelerators
        )
        given = round(node.cpu_allocatable_cores * _MICRO), node.memory_allocatable_bytes
        self.allocatable = _Held(
            min(given[0], self.capacity.cpu), min(given[1], self.capacity.memory), accelerators
        )

    def share(self, held: Sequence[int]) -> int:
        """Billionths of the node."""
        return sum(
            weight * amount // capacity
            for weight, amount, capacity in zip(self.weights, held, self.capacity, strict=True)
            if capacity
        )


def share_nodes(
    rows: Sequence[Usage], nodes: Iterable[Node], window: Window | None = None
) -> Shared:
    """Charges of pods' rows, and what of the nodes was left over.

    Args:
        rows: merged, of every pod that was on these nodes, each pod's whole life. Rows in the phase
            queue, and time at which the node was not there, cost nothing.
        nodes: their lives; of one node they do not overlap.
        window: only this time is charged; None for all of it.
    """
    held = _held(rows)
    on_node: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(rows)), key=lambda index: rows[index].start_microseconds):
        if rows[index].phase != "queue":
            on_node[rows[index].node_uid].append(index)
    billed = [0] * len(rows)
    accounts = []
    for node in nodes:
        begin, end = _within(node.start_microseconds, node.stop_microseconds, window)
        shape = _Shape(node)
        parts = _sweep(shape, rows, on_node[node.node_uid], held, (begin, end))
        workload = 0
        for index, microseconds in _whole_microseconds(rows, parts):
            billed[index] += microseconds
            workload += microseconds
        reserve = _WHOLE - shape.share(shape.allocatable)
        overhead = (end - begin) * reserve // _WHOLE
        idle = end - begin - workload - overhead
        accounts.append(NodeAccount(node, end - begin, workload, overhead, idle))
    return Shared(list(map(Charge, rows, billed)), accounts)


def _within(start: int, stop: int, window: Window | None) -> Window:
    if window is None:
        return start, stop
    begin = max(start, window[0])
    return begin, max(begin, min(stop, window[1]))


def _held(rows: Sequence[Usage]) -> list[_Holder]:
    """What each row holds at every moment of it: its request, and its part of its slice's excess.

    A slice is a time of a pod in which nothing changes that its cost depends on."""
    pods: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(rows)), key=lambda index: rows[index].start_microseconds):
        if rows[index].phase != "queue":
            pods[rows[index].pod_uid].append(index)
    above = [_Held(0, 0, 0)] * len(rows)
    for own in pods.values():
        for _, group in itertools.groupby(own, key=lambda index: _slice(rows[index])):
            slice_ = list(group)
            excess = _above([rows[index] for index in slice_])
            for index in slice_:
                above[index] = excess
    return list(map(_Holder, map(_asked, rows), above))


def _slice(row: Usage) -> tuple[object, ...]:
    """What is the same in all rows of a slice."""
    return row.node_uid, row.price_usd_per_hour, row.software_usd_per_hour, _asked(row)


def _asked(row: Usage) -> _Held:
    return _Held(
        max(0, round(row.cpu_request_cores * _MICRO)),
        max(0, row.memory_request_bytes),
        max(0, round(row.accelerator_count * _MICRO)),
    )


def _above(of: Sequence[Usage]) -> _Held:
    """By how much a pod's use exceeds its requests over these rows, on average."""
    seconds = [(row.stop_microseconds - row.start_microseconds) / 1e6 for row in of]
    whole = sum(seconds)
    if not whole:
        return _Held(0, 0, 0)
    asked = list(zip(of, seconds, strict=True))
    cpu = sum(row.cpu_used_core_seconds for row in of)
    cpu -= sum(row.cpu_request_cores * length for row, length in asked)
    memory = sum(row.memory_used_byte_seconds for row in of)
    memory -= sum(row.memory_request_bytes * length for row, length in asked)
    return _Held(max(0, round(cpu / whole * _MICRO)), max(0, round(memory / whole)), 0)


def _sweep(
    shape: _Shape,
    rows: Sequence[Usage],
    indexes: Sequence[int],
    held: Sequence[_Holder],
    window: Window,
) -> dict[int, int]:
    """Each row's part-microseconds of one node's life, in the order of `indexes`."""
    times: list[tuple[int, int, int]] = []  # when, ends before begins, which
    parts: dict[int, int] = {}
    for index in indexes:
        row = rows[index]
        start, stop = _within(row.start_microseconds, row.stop_microseconds, window)
        if start < stop:
            asked, above = held[index]
            gained = shape.share([a + b for a, b in zip(asked, above, strict=True)])
            parts[index] = gained * (stop - start)
            times += [(start, 1, index), (stop, 0, index)]
    times.sort()
    there: dict[int, _Holder] = {}
    all_asked, all_above = [0, 0, 0], [0, 0, 0]  # of each resource, by those
    for (now, begins, index), (then, _, _) in itertools.pairwise([*times, (window[1], 0, -1)]):
        sign = 1 if begins else -1
        if begins:
            there[index] = held[index]
        else:
            del there[index]
        for resource, (one, more) in enumerate(zip(*held[index], strict=True)):
            all_asked[resource] += sign * one
            all_above[resource] += sign * more
        for resource, room in enumerate(shape.allocatable):
            if then > now and all_asked[resource] + all_above[resource] > room:
                fit = all_asked[resource], all_above[resource], room
                for who, less in _too_much(shape, resource, there, fit):
                    parts[who] -= less * (then - now)
    return parts


def _too_much(
    shape: _Shape, resource: int, there: Mapping[int, _Holder], fit: tuple[int, int, int]
) -> Iterator[tuple[int, int]]:
    """By how much of the node each share must shrink for all to fit: what is above the requests
    first, then the requests.

    Args:
        fit: of this resource, what is asked for, what is held above that, and the room.
    """
    weight, capacity = shape.weights[resource], shape.capacity[resource]
    all_asked, all_above, room = fit
    if not capacity:
        return
    left = max(0, room - all_asked)
    for index, (asked, above) in there.items():
        one, more = asked[resource], above[resource]
        if more or all_asked > room:
            fits = one * room // all_asked if all_asked > room else one + more * left // all_above
            yield index, weight * (one + more) // capacity - weight * fits // capacity


def _whole_microseconds(
    rows: Sequence[Usage], parts: Mapping[int, int]
) -> Iterator[tuple[int, int]]:
    """Part-microseconds as microseconds of the node's time, rounded down over each pod's life: cut
    otherwise into rows it costs the same."""
    reached: dict[str, int] = defaultdict(int)
    for index, part in parts.items():
        before = reached[rows[index].pod_uid]
        reached[rows[index].pod_uid] = after = before + part
        yield index, after // _WHOLE - before // _WHOLE
