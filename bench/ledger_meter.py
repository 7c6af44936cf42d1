"""What Tally's meter would write of a simulated cluster, seen as Kubernetes shows it.

Moments are whole seconds, cut off, as in the API. Use is what the kubelet's counter showed when it
was read, every 15 seconds, with one reading in a hundred lost and a meter that forgets everything
each few hours; one container in fifty restarts, and its counter begins again.
"""

import numpy as np

from bench.simulated_cluster import (
    BEGIN,
    HOUR,
    SECOND,
    Signal,
    SimulatedCluster,
    SimulatedNode,
    SimulatedPod,
    ticks,
)
from tally.costing.nodes import Node
from tally.costing.usage import Phase, Usage
from tally.kube.sampling import Samples, Used, seen, used

SCRAPE_SECONDS = 15.0
LOST = 0.01  # of the readings
METER_RESTARTS = 3 * HOUR  # so often the meter forgets what it has read
PODS_A_RUN = 20
NO_RUN = 0.1  # of the pods belong to no run


def cut(microseconds: int) -> int:
    """A moment as Kubernetes gives it."""
    return microseconds // SECOND * SECOND


def nodes(cluster: SimulatedCluster) -> list[Node]:
    """The lives of the cluster's nodes, as the meter writes them."""
    return [_node(node) for node in cluster.nodes]


def _node(node: SimulatedNode) -> Node:
    machine = node.machine
    return Node(
        node_uid=node.uid,
        name=node.uid,
        machine_type=machine.name,
        provider="simulated",
        region="nowhere",
        spot=machine.spot,
        start_microseconds=cut(node.start),
        end_microseconds=cut(node.end),
        heartbeat_at_microseconds=cut(node.end),
        cpu_capacity_cores=machine.capacity[0],
        cpu_allocatable_cores=machine.allocatable[0],
        memory_capacity_bytes=int(machine.capacity[1]),
        memory_allocatable_bytes=int(machine.allocatable[1]),
        accelerator="accelerator" if machine.capacity[2] else "",
        accelerator_capacity=machine.capacity[2],
        cpu_share=machine.shares[0],
        memory_share=machine.shares[1],
        accelerator_share=machine.shares[2],
        price_usd_per_hour=machine.usd_per_hour,
        catalogue_version="simulated",
    )


def readings(
    cluster: SimulatedCluster, pod: SimulatedPod, signal: Signal
) -> list[tuple[int, float, float]]:
    """(when, counter, working set) of each reading that was not lost."""
    chance = np.random.default_rng([cluster.seed, pod.number, 1])
    at = np.array(list(ticks(pod.node, pod.started, pod.ended, SCRAPE_SECONDS, cluster.seed)))
    at = at + chance.integers(0, SECOND, len(at))  # the kubelet looks at its containers in turn
    at = at[(at < pod.ended) & (chance.random(len(at)) >= LOST)]
    counter = signal.core_seconds(at)
    if pod.counter_reset:
        before = signal.core_seconds(np.array([float(pod.counter_reset)]))
        counter = np.where(at < pod.counter_reset, counter, counter - before)
    memory = signal.working_set_at(at)
    return list(zip(map(int, at), map(float, counter), map(float, memory), strict=True))


def samples(found: list[tuple[int, float, float]]) -> Samples | None:
    """What the meter knows after these readings, of which it forgets some."""
    state: Samples | None = None
    for index, (at, counter, memory) in enumerate(found):
        lives = (at - BEGIN) // METER_RESTARTS
        if index and lives != (found[index - 1][0] - BEGIN) // METER_RESTARTS:
            state = None
        state = seen(state, at, counter, memory)
    return state


def measured(cluster: SimulatedCluster) -> list[Samples | None]:
    """What the meter knows of each pod's container when it has ended."""
    return [
        samples(readings(cluster, pod, signal))
        for pod, signal in zip(cluster.pods, cluster.signals, strict=True)
    ]


def used_by(pod: SimulatedPod, state: Samples | None) -> Used | None:
    """What the meter thinks that a pod used."""
    return used(state, cut(pod.started), cut(pod.ended))


def rows(cluster: SimulatedCluster, pod: SimulatedPod, what: Used | None) -> list[Usage]:
    """One pod's rows: queue, startup and work."""
    machine = cluster.nodes[pod.node].machine

    def row(phase: Phase, start: int, end: int) -> Usage:
        working = phase == "work" and what is not None
        return Usage(
            run_id=run_id(pod.number),
            pipeline="cnn",
            step=f"step-{pod.number % PODS_A_RUN // 5}",
            worker=str(pod.number),
            team=team(pod.number),
            namespace=team(pod.number),
            pod_uid=pod.uid,
            node_uid="" if phase == "queue" else cluster.nodes[pod.node].uid,
            container="pod",
            machine_type=machine.name,
            spot=machine.spot,
            provider="simulated",
            region="nowhere",
            start_microseconds=cut(start),
            end_microseconds=cut(end),
            heartbeat_at_microseconds=cut(end),
            cpu_request_cores=pod.asked[0],
            cpu_used_core_seconds=what.cpu_core_seconds if what and working else 0.0,
            memory_request_bytes=int(pod.asked[1]),
            memory_used_byte_seconds=what.memory_byte_seconds if what and working else 0.0,
            accelerator="accelerator" if pod.asked[2] else "",
            accelerator_count=pod.asked[2],
            phase=phase,
            source="pod",
            price_usd_per_hour=machine.usd_per_hour,
            catalogue_version="simulated",
        )

    return [
        row("queue", pod.created, pod.scheduled),
        row("startup", pod.scheduled, pod.started),
        row("work", pod.started, pod.ended),
    ]


def team(number: int) -> str:
    """Whose namespace the pod of that number is in; all of a run are in one."""
    return f"team-{number // PODS_A_RUN % 7}"


def run_id(number: int) -> str:
    """Of the pod of that number; "" for one that belongs to no run."""
    run = number // PODS_A_RUN
    return "" if run % int(1 / NO_RUN) == 0 else f"0199{run:08x}-0000-7000-8000-000000000000"
