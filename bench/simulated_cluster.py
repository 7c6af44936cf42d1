"""A cluster that never was: pods whose every second and every core is known, on nodes that an
autoscaler adds when none has room and takes away when one has stood empty.

Nothing here knows how Tally meters or charges. Times are microseconds UTC, whole.
"""

import functools
import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SECOND = 1_000_000
HOUR = 3600 * SECOND
GIB = 2**30
BEGIN = 1_790_000_000 * SECOND
EMPTY_SECONDS = 600  # how long a node stands empty before it goes
SHORTEST_SECONDS, LONGEST_SECONDS = 5.0, 3 * 3600.0
LIVES = ((0.7, 300.0), (0.2, 1200.0), (0.1, 3600.0))  # part of the pods, mean life in seconds
SEGMENT_SECONDS = 45.0  # how long use stays level, on average
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Machine:
    """A machine type; amounts are cores, bytes and accelerators, shares parts of its price."""

    name: str
    spot: bool
    usd_per_hour: float
    capacity: tuple[float, float, float]
    allocatable: tuple[float, float, float]
    shares: tuple[float, float, float]


MACHINES = (
    Machine("plain-16", False, 0.7769, (16, 64 * GIB, 0), (15.4, 58 * GIB, 0), (0.65, 0.35, 0)),
    Machine("plain-16", True, 0.1942, (16, 64 * GIB, 0), (15.4, 58 * GIB, 0), (0.65, 0.35, 0)),
    Machine("accel-8", False, 4.002, (8, 32 * GIB, 4), (7.6, 28 * GIB, 4), (0.06, 0.03, 0.91)),
)
SHARE_OF_PODS = (0.55, 0.4, 0.05)  # of each machine


@dataclass
class SimulatedNode:
    """Where pods run; end is when the autoscaler deletes it."""

    uid: str
    machine: Machine
    start: int
    end: int


@dataclass(frozen=True)
class Signal:
    """What a container really used, level between one bound and the next.

    bounds has one more than cores and working_set; the first is its start, the last its end.
    """

    bounds: Floats
    cores: Floats
    working_set: Floats

    def core_seconds(self, at: Floats) -> Floats:
        """CPU time from the start to these moments."""
        summed = np.concatenate([[0.0], np.cumsum(np.diff(self.bounds) * self.cores)]) / SECOND
        return np.interp(at, self.bounds, summed)

    def byte_seconds(self) -> float:
        """Memory over the whole life."""
        return float(np.diff(self.bounds) @ self.working_set) / SECOND

    def working_set_at(self, at: Floats) -> Floats:
        """Memory at these moments."""
        index = np.searchsorted(self.bounds, at, side="right") - 1
        return self.working_set[np.clip(index, 0, len(self.cores) - 1)]


@dataclass(frozen=True)
class SimulatedPod:
    """One pod; it holds its node from scheduled to ended, its container runs from started on."""

    uid: str
    number: int
    node: int
    created: int
    scheduled: int
    started: int
    ended: int
    asked: tuple[float, float, float]
    counter_reset: int
    """When the container restarted and its counter fell to nothing; 0 for never."""

    def signal(self, seed: int) -> Signal:
        """What it used; the same for the same seed."""
        chance = np.random.default_rng([seed, self.number])
        length = self.ended - self.started
        count = 2 + int(2.5 * length / SECOND / SEGMENT_SECONDS)
        lengths = chance.exponential(SEGMENT_SECONDS * SECOND, count)
        lengths[0] = chance.uniform(3, 20) * SECOND  # it loads its program and reads its data
        bounds = np.concatenate([[0.0], np.cumsum(lengths)])
        bounds = np.concatenate([bounds[bounds < length], [float(length)]])
        pieces = len(bounds) - 1
        level = chance.lognormal(-0.1, 0.5) * chance.lognormal(0, 0.3, pieces)
        bursts = chance.random(pieces) < 0.2
        level[bursts] *= chance.uniform(1.5, 4, int(bursts.sum()))
        level[0] *= 0.3
        memory = chance.uniform(0.4, 1.1) * chance.lognormal(0, 0.1, pieces)
        memory[0] *= 0.5
        return Signal(self.started + bounds, self.asked[0] * level, self.asked[1] * memory)


@dataclass(frozen=True)
class SimulatedCluster:
    """Pods in the order of their creation."""

    nodes: list[SimulatedNode]
    pods: list[SimulatedPod]
    seed: int

    @functools.cached_property
    def signals(self) -> list[Signal]:
        """What each pod used."""
        return [pod.signal(self.seed) for pod in self.pods]

    @property
    def end(self) -> int:
        """When the last node is gone."""
        return max(node.end for node in self.nodes)


def simulate(count: int, span_seconds: float, seed: int) -> SimulatedCluster:
    """So many pods, created at random over a time."""
    chance = random.Random(seed)
    nodes: list[SimulatedNode] = []
    pods = []
    free = _Room(nodes)
    moments = sorted(chance.randrange(int(span_seconds * SECOND)) for _ in range(count))
    for number, moment in enumerate(moments):
        created = BEGIN + moment
        machine = chance.choices(MACHINES, SHARE_OF_PODS)[0]
        asked = _asked(machine, chance)
        scheduled, node = free.place(machine, asked, created + chance.randrange(SECOND))
        life = int(_life_seconds(chance) * SECOND)
        started = scheduled + chance.randrange(min(3 * SECOND, life // 2))
        ended = scheduled + life
        free.hold(node, asked, ended)
        reset = chance.randrange(started, ended) if chance.random() < 0.02 else 0
        uid = f"pod-{number:06}"
        pods.append(
            SimulatedPod(
                uid, number, node, created, scheduled, started, ended, asked, counter_reset=reset
            )
        )
    free.leave()
    return SimulatedCluster(nodes, pods, seed)


def _life_seconds(chance: random.Random) -> float:
    mean = chance.choices([mean for _, mean in LIVES], [part for part, _ in LIVES])[0]
    while True:
        if SHORTEST_SECONDS <= (life := chance.expovariate(1 / mean)) <= LONGEST_SECONDS:
            return life


def _asked(machine: Machine, chance: random.Random) -> tuple[float, float, float]:
    if machine.capacity[2]:
        parts = chance.choice([0.25, 0.5, 1, 1, 2])
        return 1.5 * parts, int(5.5 * parts * GIB), parts
    cores = chance.choice([0.25, 0.5, 1, 2, 4])
    return cores, int(cores * chance.choice([2, 3, 4]) * GIB), 0


class _Room:
    """What is free on the nodes, as a scheduler and an autoscaler see it."""

    def __init__(self, nodes: list[SimulatedNode]) -> None:
        self.nodes = nodes
        self.free: dict[int, list[float]] = {}
        self.ends: list[tuple[int, int, tuple[float, float, float]]] = []
        self.ready: dict[int, int] = {}
        self.last_end: dict[int, int] = {}

    def place(
        self, machine: Machine, asked: tuple[float, float, float], now: int
    ) -> tuple[int, int]:
        """When and on which node a pod starts to hold its resources."""
        self._let_go(now)
        for index in self.free:
            if self.nodes[index].machine is machine and self._fits(index, asked):
                return max(now, self.ready[index]), index
        index = len(self.nodes)
        self.ready[index] = ready = now + 60 * SECOND
        self.nodes.append(SimulatedNode(f"node-{index:04}", machine, now + 20 * SECOND, 0))
        self.free[index] = list(machine.allocatable)
        self.last_end[index] = ready
        return ready, index

    def hold(self, node: int, asked: tuple[float, float, float], ended: int) -> None:
        self.free[node] = [a - b for a, b in zip(self.free[node], asked, strict=True)]
        heapq.heappush(self.ends, (ended, node, asked))
        self.last_end[node] = max(self.last_end[node], ended)

    def leave(self) -> None:
        """Every node goes when it has stood empty for long enough."""
        for index in tuple(self.free):
            self._go(index)

    def _fits(self, node: int, asked: tuple[float, float, float]) -> bool:
        return all(a >= b - 1e-9 for a, b in zip(self.free[node], asked, strict=True))

    def _let_go(self, now: int) -> None:
        while self.ends and self.ends[0][0] <= now:
            _, node, asked = heapq.heappop(self.ends)
            self.free[node] = [a + b for a, b in zip(self.free[node], asked, strict=True)]
        for index in tuple(self.free):
            if now - self.last_end[index] > EMPTY_SECONDS * SECOND:
                self._go(index)

    def _go(self, index: int) -> None:
        self.nodes[index].end = self.last_end[index] + EMPTY_SECONDS * SECOND
        del self.free[index]


def ticks(node: int, start: int, stop: int, interval_seconds: float, seed: int) -> Iterator[int]:
    """When a node is looked at between two times: every so often, from a moment of its own."""
    step = int(interval_seconds * SECOND)
    first = BEGIN + random.Random(f"{seed}:{node}:{step}").randrange(step)
    begin = first + max(0, -(-(start - first) // step)) * step
    return iter(range(begin, stop, step))
