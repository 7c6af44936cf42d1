"""What a simulated cluster truly cost, pod by pod: the integrals, in matrices of floats.

It shares no code with Tally's allocation. A pod holds the larger of what it asked for and what it
used on average over its life, of each resource; where the pods of a node together hold more than
can be given, what is above the requests shrinks to fit; a resource's part of the node's price buys
the part of its capacity that is held.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.simulated_cluster import HOUR, Floats, SimulatedCluster, SimulatedNode


@dataclass(frozen=True)
class Held:
    """What pods held, one row each: on which node, from when to when, asked for and used.

    asked and used have three columns: cores, bytes, accelerators, as an average over the time.
    """

    node: Floats
    start: Floats
    stop: Floats
    asked: Floats
    used: Floats


def truth(cluster: SimulatedCluster) -> Held:
    """What the pods really held."""
    used = []
    for pod, signal in zip(cluster.pods, cluster.signals, strict=True):
        seconds = (pod.ended - pod.scheduled) / 1e6
        cpu = float(signal.core_seconds(np.array([float(pod.ended)]))[0])
        used.append((cpu / seconds, signal.byte_seconds() / seconds, pod.asked[2]))
    pods = cluster.pods
    return Held(
        np.array([pod.node for pod in pods]),
        np.array([pod.scheduled for pod in pods]),
        np.array([pod.ended for pod in pods]),
        np.array([pod.asked for pod in pods]),
        np.array(used),
    )


def cost_usd(cluster: SimulatedCluster, held: Held) -> Floats:
    """What each row costs."""
    usd = np.zeros(len(held.node))
    for index, node in enumerate(cluster.nodes):
        rows = np.flatnonzero((held.node == index) & (held.stop > held.start))
        if len(rows):
            usd[rows] = _on_node(node, held, rows)
    return usd


def _on_node(node: SimulatedNode, held: Held, rows: NDArray[np.intp]) -> Floats:
    start, stop, asked = held.start[rows], held.stop[rows], held.asked[rows]
    above = np.maximum(held.used[rows] - asked, 0)
    bounds = np.unique(np.concatenate([start, stop]))
    there = (start <= bounds[:-1, None]) & (stop > bounds[:-1, None])  # moments × pods
    there = there.astype(float)
    room = np.array(node.machine.allocatable)
    all_asked, all_above = there @ asked, there @ above
    with np.errstate(divide="ignore", invalid="ignore"):
        fits = np.nan_to_num(np.minimum(1, room / all_asked), nan=1.0)
        more = np.nan_to_num(np.clip((room - all_asked) / all_above, 0, 1), nan=0.0)
        worth = np.nan_to_num(np.array(node.machine.shares) / np.array(node.machine.capacity))
    hours = np.diff(bounds)[:, None] * there / HOUR
    amounts = (hours.T @ fits) * asked + (hours.T @ more) * above
    usd: Floats = amounts @ worth * node.machine.usd_per_hour
    return usd


def node_usd(cluster: SimulatedCluster) -> float:
    """What the nodes cost from their first moment to their last."""
    return sum((node.end - node.start) / HOUR * node.machine.usd_per_hour for node in cluster.nodes)
