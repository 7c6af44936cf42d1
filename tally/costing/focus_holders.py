"""Whose a row of the export is: FOCUS calls it a resource. Pure."""

from dataclasses import dataclass

from tally.costing.days import Kind
from tally.costing.nodes import Node
from tally.costing.usage import Usage


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose row it is: a worker, a step, pods without a run, or of a node what nobody held."""

    kind: Kind
    resource_id: str
    resource_name: str
    resource_type: str
    namespace: str
    phase: str
    tags: tuple[tuple[str, str], ...]
    description: str


def holder_of(row: Usage) -> Holder:
    """The worker or step that a row is of; of pods without a run all of a namespace."""
    tags = {"team": row.team}
    if not row.run_id:
        where, title = f"{row.namespace}/pods", f"pods of {row.namespace} outside runs"
        kind, what = "Pods", title
    else:
        tags |= {"run": row.run_id, "pipeline": row.pipeline, "step": row.step}
        tags |= {"worker": row.worker}
        where = "/".join(filter(None, (row.namespace, row.run_id, row.step, row.worker)))
        title = " ".join(filter(None, (row.pipeline, row.step, row.worker)))
        kind = "Worker" if row.worker else "Step"
        what = f"{row.pipeline}, run {row.run_id}: {row.step} {row.worker}".rstrip()
    told = tuple((name, value) for name, value in tags.items() if value)
    description = f"{what}, {row.phase}, on {row.machine_type}"
    return Holder("workload", where, title, kind, row.namespace, row.phase, told, description)


def left_of(node: Node, kind: Kind) -> Holder:
    """What of a node was idle, or the system's reserve."""
    meaning = {"idle": "held by nobody", "overhead": "the system's reserve"}[kind]
    name = "" if node.name == node.node_uid else node.name
    description = f"node {node.name} ({node.machine_type}), {kind}: {meaning}"
    return Holder(kind, node.node_uid, name, "Node", "", "", (), description)
