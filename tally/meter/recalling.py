"""What the ledger had when the meter began, against what is there: whatever vanished meanwhile."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tally.costing.ledger import Ledger
from tally.costing.nodes import Node
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage, in_order_of_life


@dataclass(frozen=True)
class Recalled:
    """What was written before.

    Attributes:
        rows: by pod, of pods that are there.
        lives: the newest of each node that is there.
        unpriced: machine types, and whether spot, of which something has no price.
        runs: all.
    """

    rows: dict[str, tuple[Usage, ...]]
    lives: dict[str, Node]
    unpriced: frozenset[tuple[str, bool]]
    runs: tuple[RunRecord, ...]


def recall(ledger: Ledger, pods: Collection[str], nodes: Collection[str]) -> Recalled:
    """End what is not there any more where it was last known to be, and read what is.

    A pod that vanished while no meter looked had no finalizer: it was none of a gang's.

    Args:
        ledger: written and read.
        pods, nodes: uids of those that are there.

    Raises:
        SpecError, RunError: as the ledger.
    """
    lost = [row for row in ledger.open_usage("pod") if row.pod_uid not in pods]
    ledger.write_usage(replace(row, end_microseconds=row.stop_microseconds) for row in lost)
    lives = ledger.nodes()
    gone = [n for n in lives if n.end_microseconds is None and n.node_uid not in nodes]
    ledger.write_nodes(replace(node, end_microseconds=node.stop_microseconds) for node in gone)
    return Recalled(
        _by_pod(ledger.usage_of_pods(pods)),
        {node.node_uid: node for node in lives if node.node_uid in nodes},
        frozenset((n.machine_type, n.spot) for n in lives if not n.catalogue_version),
        tuple(ledger.runs()),
    )


def _by_pod(rows: Sequence[Usage]) -> dict[str, tuple[Usage, ...]]:
    found: dict[str, list[Usage]] = defaultdict(list)
    for row in in_order_of_life(rows):
        if row.source == "pod":
            found[row.pod_uid].append(row)
    return {uid: tuple(own) for uid, own in found.items()}
