"""From what is known of pods and nodes to what the ledger does not have of them yet. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tally.costing.nodes import Node
from tally.costing.usage import Usage
from tally.errors import SpecError
from tally.kube import sampling
from tally.kube.nodelife import node_capacity, node_life
from tally.kube.podusage import pod_usage
from tally.kube.quantities import accelerator_clients
from tally.machines.priced import PricedMachine
from tally.machines.shares import OPENCOST, price_shares
from tally.meter.known import Known, KnownNode, KnownPod

HEARTBEAT_MICROSECONDS = 15 * 10**6
_NODE_AWAITED_MICROSECONDS = 5 * 10**6  # a pod may be told of before its new node is


@dataclass(frozen=True)
class Made:
    """What is new, and why a machine has no price, by node."""

    usage: list[Usage]
    nodes: list[Node]
    unpriced: dict[str, str]


def make(
    known: Known, price: Callable[[Mapping[str, str]], PricedMachine], now: int, heard: int
) -> Made:
    """Everything that changed, and what lasts and was not made for 15 s.

    Args:
        known: is told what was made.
        price: of a node's labels; raises SpecError where there is none.
        now: microseconds UTC, on the cluster's clock.
        heard: when the API server last answered: nothing is known to last for longer.
    """
    nodes: list[Node] = []
    unpriced: dict[str, str] = {}
    for node in known.nodes.values():
        if node.gone and not node.is_due:
            continue
        if node.is_due or now - node.made_microseconds >= HEARTBEAT_MICROSECONDS:
            nodes += _lives(known, node, price, now, heard)
        if node.life is not None and not node.life.catalogue_version:
            unpriced[node.name] = _why_unpriced(node, price)
    usage: list[Usage] = []
    for pod in known.pods.values():
        lasts = not pod.has_ended and now - pod.made_microseconds >= HEARTBEAT_MICROSECONDS
        if pod.is_due or lasts:
            usage += _rows(known, pod, now, heard)
    made = {(node.node_uid, node.start_microseconds): node for node in nodes}
    made |= _reached(known, usage, now)
    return Made(usage, list(made.values()), unpriced)


def _reached(known: Known, usage: Iterable[Usage], now: int) -> dict[tuple[str, int], Node]:
    """Nodes that lasted until an ended pod's end, which is later than what was written of them.

    The end proves it, whenever the API server or the node's Lease was heard of last. Without that
    the bill of a short pod would be too low: until the node's next heartbeat, or, where the node is
    gone, for ever. Later than the end of its node is only what a pod itself tells, and it may go on
    on a node that has come back under another uid: the one that is gone lasted until it went.
    """
    ends: dict[str, int] = {}
    for row in usage:
        if row.end_microseconds and row.end_microseconds > row.start_microseconds:
            ends[row.node_uid] = max(row.end_microseconds, ends.get(row.node_uid, 0))
    found = {}
    for uid, node in known.nodes.items():
        end = min(ends.get(uid, 0), node.seen_microseconds if node.gone else now)
        if (life := node.life) and end > life.heartbeat_at_microseconds:
            ended = None if life.end_microseconds is None else end
            node.life = replace(life, end_microseconds=ended, heartbeat_at_microseconds=end)
            found[uid, life.start_microseconds] = node.life
    return found


def _lives(
    known: Known,
    node: KnownNode,
    price: Callable[[Mapping[str, str]], PricedMachine],
    now: int,
    heard: int,
) -> list[Node]:
    labels = node.object["metadata"].get("labels") or {}
    try:
        priced: PricedMachine | None = price(labels)
    except SpecError:
        priced = None
    has = node_capacity(node.object)
    weights = priced.weights if priced else OPENCOST
    try:
        shares = price_shares(has.cpu_cores, has.memory_bytes, has.accelerators, weights)
    except SpecError:
        node.is_due = not node.gone and node.life is None  # it has not told yet what it has
        return []
    lives = node_life(
        node.object,
        priced,
        shares,
        now_microseconds=node.seen_microseconds if node.gone else min(now, heard),
        gone=node.gone,
        last_heard_microseconds=node.heard_microseconds,
        before=node.life,
    )
    if lives[-1].end_microseconds is not None or not _is_alike(node.life, lives[-1]):
        for pod in known.pods.values():
            lasts = pod.kept_microseconds is None or not pod.gone
            if lasts and known.node_of(pod) is node:
                pod.is_due = True
    node.life, node.is_due, node.made_microseconds = lives[-1], False, now
    return lives


def _is_alike(before: Node | None, now: Node) -> bool:
    """Whether pods' open rows, which have their price already, need no look."""
    if before is None or before.start_microseconds != now.start_microseconds:
        return False
    return before.catalogue_version == now.catalogue_version


def _why_unpriced(node: KnownNode, price: Callable[[Mapping[str, str]], PricedMachine]) -> str:
    try:
        price(node.object["metadata"].get("labels") or {})
    except SpecError as error:
        return str(error)
    return "its price has just come to be known"


def _rows(known: Known, pod: KnownPod, now: int, heard: int) -> list[Usage]:
    """The pod's rows that are not as they were when they were made last."""
    node = known.node_of(pod)
    life = _life_now(node, min(now, heard)) if node else None
    awaited = now - pod.seen_microseconds < _NODE_AWAITED_MICROSECONDS
    if life is None and awaited and pod.object["spec"].get("nodeName") and not pod.rows:
        return []
    at = pod.seen_microseconds if pod.gone else min(now, heard)
    labels = node.object["metadata"].get("labels") if node else None
    since = max(pod.since_microseconds, life.start_microseconds if life else 0)

    def rows(used: sampling.Used | None) -> tuple[Usage, ...]:
        return tuple(
            pod_usage(
                pod.object,
                life,
                now_microseconds=at,
                used=used,
                gone=pod.gone,
                before=pod.rows,
                since_microseconds=pod.since_microseconds,
                left_microseconds=pod.left_microseconds,
                used_before=_used_until(pod, pod.rows, since),
                accelerator_clients=accelerator_clients(labels or {}),
            )
        )

    used = _used(pod, pod.rows)
    made = rows(used)
    if pod.samples is not None and (used is None or made[-1].end_microseconds is not None):
        made = rows(_used(pod, made))
    changed = _others(made, pod.rows)
    if changed:
        pod.kept_microseconds = None
    pod.rows, pod.is_due, pod.made_microseconds = made, False, now
    return changed


def _life_now(node: KnownNode, now: int) -> Node | None:
    """The node's life, known to last until its last sign, which may not have been written yet."""
    life = node.life
    if life is None or life.end_microseconds is not None or node.heard_microseconds is None:
        return life
    heard = max(life.heartbeat_at_microseconds, min(now, node.heard_microseconds))
    return replace(life, heartbeat_at_microseconds=heard)


def _used(pod: KnownPod, rows: Sequence[Usage]) -> sampling.Used | None:
    """What a pod used from when it had a node to its end; while it lasts, to its last sample: more
    would be a guess, which a counter cannot take back."""
    end = rows[-1].end_microseconds if rows else None
    if end is None and pod.samples is not None:
        end = pod.samples.at_microseconds - sampling.TRUNCATED_MICROSECONDS
    return None if end is None else _used_until(pod, rows, end + sampling.TRUNCATED_MICROSECONDS)


def _used_until(pod: KnownPod, rows: Sequence[Usage], until: int) -> sampling.Used | None:
    """What a pod used from when it had a node to this moment."""
    begun = [row for row in rows if row.phase != "queue"]
    if not begun or pod.samples is None:
        return None
    end = until - sampling.TRUNCATED_MICROSECONDS
    return sampling.used(pod.samples, begun[0].start_microseconds, end)


def _others(rows: Iterable[Usage], before: Iterable[Usage]) -> list[Usage]:
    had = {(row.phase, row.start_microseconds): row for row in before}
    return [row for row in rows if had.get((row.phase, row.start_microseconds)) != row]
