"""Where one step of a pipeline shall run on a cluster, and with how much."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kfp import kubernetes
from kfp.dsl import PipelineTask

from tally.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Place:
    """What compiling leaves as it is; on this machine it means nothing.

    Attributes:
        cpu, memory: both request and limit, as Kubernetes writes them ("2", "500m", "4Gi"); "" is
            the step's usual.
        node_selector: labels that its node has.
        tolerations: of its nodes' taints: key, operator, value, effect.
    """

    cpu: str = ""
    memory: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        values = [self.cpu, self.memory, *self.node_selector.values()]
        values += [value for toleration in self.tolerations for value in toleration.values()]
        for value in values:
            if not isinstance(value, str):  # the driver fails on a number, or drops it silently
                raise SpecError(
                    f"place: expected text, got {value!r}; write it with quotation marks"
                )


def put(task: PipelineTask, place: Place) -> None:
    """Say on the task where it shall run; what the place leaves open stays as it was."""
    if place.cpu:
        task.set_cpu_request(place.cpu).set_cpu_limit(place.cpu)
    if place.memory:
        task.set_memory_request(place.memory).set_memory_limit(place.memory)
    for label, value in place.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in place.tolerations:
        kubernetes.add_toleration(task, **toleration)
