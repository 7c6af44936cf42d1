"""Clusters to test with: nodes and pods by hand, strategies that make them, and what they cost the
slow and obvious way."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from hypothesis import strategies as st

from helpers.costing import histories  # noqa: F401 - registers the profile
from tally.costing.merge import part
from tally.costing.nodes import Node
from tally.costing.usage import Usage
from tally.machines.shares import price_shares

SECOND = 1_000_000
GIB = 2**30
Window = tuple[int, int]


def a_node(start: int = 0, stop: int | None = 3600, **fields: object) -> Node:
    """8 cores, 32 GiB and nothing reserved, at 1 USD an hour; start and stop in seconds."""
    usual = {
        "node_uid": "n",
        "name": "n",
        "machine_type": "m",
        "provider": "p",
        "region": "r",
        "spot": False,
        "start_microseconds": start * SECOND,
        "end_microseconds": None if stop is None else stop * SECOND,
        "heartbeat_at_microseconds": (start if stop is None else stop) * SECOND,
        "cpu_capacity_cores": 8.0,
        "cpu_allocatable_cores": 8.0,
        "memory_capacity_bytes": 32 * GIB,
        "memory_allocatable_bytes": 32 * GIB,
        "cpu_share": 0.6,
        "memory_share": 0.4,
        "accelerator_share": 0.0,
        "price_usd_per_hour": 1.0,
        "catalogue_version": "1",
    }
    return Node(**(usual | fields))


def a_pod(start: int, stop: int | None, uid: str = "a", **fields: object) -> Usage:
    """One core and 4 GiB asked for on node n, nothing used above it; start and stop in seconds."""
    usual = {
        "run_id": "run",
        "pipeline": "cnn",
        "step": "train",
        "worker": uid,
        "pod_uid": uid,
        "node_uid": "n",
        "container": "pod",
        "machine_type": "m",
        "start_microseconds": start * SECOND,
        "end_microseconds": None if stop is None else stop * SECOND,
        "heartbeat_at_microseconds": (start if stop is None else stop) * SECOND,
        "cpu_request_cores": 1.0,
        "memory_request_bytes": 4 * GIB,
        "phase": "work",
        "source": "pod",
        "price_usd_per_hour": 1.0,
        "catalogue_version": "1",
    }
    return Usage(**(usual | fields))


@st.composite
def any_nodes(draw: st.DrawFn, uid: str) -> Node:
    """Of any shape, some with accelerators, some open, some that give all or next to nothing."""
    cores, gib = draw(st.integers(1, 64)), draw(st.integers(1, 256))
    accelerators = draw(st.sampled_from([0, 0, 1, 4, 8]))
    shares = price_shares(cores, gib * GIB, accelerators)
    start, last = draw(st.integers(0, 200)), draw(st.integers(0, 4000))
    spot = draw(st.booleans())
    return a_node(
        start,
        draw(st.sampled_from([None, start + last])),
        heartbeat_at_microseconds=(start + last) * SECOND,
        node_uid=uid,
        name=uid,
        spot=spot,
        cpu_capacity_cores=float(cores),
        cpu_allocatable_cores=cores * draw(st.integers(1, 100)) / 100,
        memory_capacity_bytes=gib * GIB,
        memory_allocatable_bytes=gib * GIB * draw(st.integers(1, 100)) // 100,
        accelerator="gpu" if accelerators else "",
        accelerator_capacity=float(accelerators),
        cpu_share=shares.cpu,
        memory_share=shares.memory,
        accelerator_share=shares.accelerator,
        price_usd_per_hour=draw(st.sampled_from([0.1, 0.37, 12.0])) * (0.3 if spot else 1),
    )


@st.composite
def any_pods(draw: st.DrawFn, node: Node, uid: str) -> list[Usage]:
    """One pod's rows on a node: before, beyond and inside its life, asking for more than there is,
    using more than it asked for, queued, starting, open."""
    bounds = sorted(draw(st.tuples(*[st.integers(0, 5000)] * 4)))
    asked = {
        "cpu_request_cores": draw(st.integers(0, 40)) * node.cpu_capacity_cores / 20,
        "memory_request_bytes": draw(st.integers(0, 40)) * node.memory_capacity_bytes // 20,
        "accelerator_count": draw(st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0, 2.0])),
        "node_uid": node.node_uid,
        "price_usd_per_hour": node.price_usd_per_hour,
        "spot": node.spot,
        "run_id": draw(st.sampled_from(["", "a", "b"])),
    }
    seconds = bounds[3] - bounds[2]
    # whole thousandths of a core and whole bytes on average: no float's last digit decides
    milli = draw(st.integers(0, 30)) * round(node.cpu_capacity_cores * 100)
    cpu = milli / 1000 * (bounds[3] - bounds[1])
    memory = float(draw(st.integers(0, 30)) * node.memory_capacity_bytes // 20 * seconds)
    is_open = draw(st.booleans()) and seconds > 0
    whole = a_pod(
        bounds[2], bounds[3], uid, cpu_used_core_seconds=cpu, memory_used_byte_seconds=memory
    )
    work = replace(whole, **asked, end_microseconds=None if is_open else bounds[3] * SECOND)
    queue = replace(a_pod(bounds[0], bounds[1], uid, phase="queue"), **asked)
    startup = replace(a_pod(bounds[1], bounds[2], uid, phase="startup"), **asked)
    there = [
        row for row in (queue, startup, work) if row.stop_microseconds > row.start_microseconds
    ]
    return draw(st.permutations(there))


@st.composite
def any_clusters(draw: st.DrawFn, pods: int = 7) -> tuple[list[Node], list[Usage]]:
    """Up to three nodes, and pods on them."""
    nodes = [draw(any_nodes(f"n{number}")) for number in range(draw(st.integers(1, 3)))]
    rows = []
    for number in range(draw(st.integers(0, pods))):
        rows += draw(any_pods(draw(st.sampled_from(nodes)), f"p{number}"))
    return nodes, rows


@st.composite
def any_cuts(draw: st.DrawFn, row: Usage) -> list[Usage]:
    """A row in pieces, work and restart in turn, some in a later attempt."""
    start, stop = row.start_microseconds, row.stop_microseconds
    cuts = draw(st.lists(st.integers(start, stop), max_size=4)) if row.phase == "work" else []
    bounds = sorted({start, *cuts, stop})
    pieces = [part(row, begin, end) for begin, end in pairwise(bounds)]
    return [
        replace(piece, phase="restart", attempt=2) if number % 2 else piece
        for number, piece in enumerate(pieces)
    ]


@dataclass(frozen=True)
class Account:
    """A node's time in microseconds: by pod, kept by the system, and left over."""

    pods: dict[str, Fraction]
    overhead: Fraction
    idle: Fraction


def slowly(nodes: Sequence[Node], rows: Sequence[Usage]) -> list[Account]:
    """What `share_nodes` should find, exactly: each moment between two bounds on its own."""
    return [_account(node, [row for row in rows if row.phase != "queue"]) for node in nodes]


def _account(node: Node, rows: list[Usage]) -> Account:
    own = [row for row in rows if row.node_uid == node.node_uid]
    begin, end = node.start_microseconds, node.stop_microseconds
    bounds = {begin, end} | {row.start_microseconds for row in own}
    bounds |= {row.stop_microseconds for row in own}
    paid: dict[str, Fraction] = defaultdict(Fraction)
    for start, stop in pairwise(sorted(bound for bound in bounds if begin <= bound <= end)):
        lasting = [r for r in own if r.start_microseconds <= start and r.stop_microseconds >= stop]
        for share, capacity, room, resource in _resources(node):
            for uid, amount in _fitting(lasting, rows, resource, room).items():
                if capacity:
                    paid[uid] += (stop - start) * share * amount / capacity
    overhead = (end - begin) * (
        1 - sum(share * room / cap for share, cap, room, _ in _resources(node) if cap)
    )
    return Account(dict(paid), overhead, end - begin - overhead - sum(paid.values(), Fraction(0)))


def _resources(node: Node) -> list[tuple[Fraction, Fraction, Fraction, str]]:
    """Of each: its part of the price, the capacity, what can be asked for, and its name."""
    gpus = Fraction(node.accelerator_capacity)
    cores = Fraction(str(node.cpu_allocatable_cores))
    memory = Fraction(node.memory_capacity_bytes), Fraction(node.memory_allocatable_bytes)
    return [
        (Fraction(node.cpu_share), Fraction(node.cpu_capacity_cores), cores, "cpu"),
        (Fraction(node.memory_share), *memory, "memory"),
        (Fraction(node.accelerator_share), gpus, gpus, "accelerator"),
    ]


def _fitting(
    lasting: list[Usage], rows: list[Usage], resource: str, room: Fraction
) -> dict[str, Fraction]:
    asked = {row.pod_uid: _asked(row, resource) for row in lasting}
    above = {
        uid: max(Fraction(0), _mean_use([r for r in rows if r.pod_uid == uid], resource))
        for uid in asked
    }
    if sum(asked.values()) > room:
        return {uid: amount * room / sum(asked.values()) for uid, amount in asked.items()}
    left, more = room - sum(asked.values()), sum(above.values())
    less = min(Fraction(1), left / more) if more else Fraction(1)
    return {uid: asked[uid] + above[uid] * less for uid in asked}


def _asked(row: Usage, resource: str) -> Fraction:
    if resource == "cpu":
        return Fraction(str(row.cpu_request_cores))
    return Fraction(row.memory_request_bytes if resource == "memory" else row.accelerator_count)


def _mean_use(life: list[Usage], resource: str) -> Fraction:
    """On average over a pod's life, above what it asked for."""
    seconds = [Fraction(row.stop_microseconds - row.start_microseconds, SECOND) for row in life]
    if resource == "accelerator" or not sum(seconds):
        return Fraction(0)
    name = "cpu_used_core_seconds" if resource == "cpu" else "memory_used_byte_seconds"
    used = sum(Fraction(str(getattr(row, name))) for row in life)
    held = sum(_asked(row, resource) * time for row, time in zip(life, seconds, strict=True))
    return (used - held) / sum(seconds)
