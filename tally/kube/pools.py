"""Pure: which nodes a cluster has for the catalogue's machine types, and which images are there."""

from collections.abc import Iterable, Mapping

from tally.errors import SpecError
from tally.kube.template import Object, pod_spec, worker_template
from tally.machines.labels import machine_type_of
from tally.machines.machine_type import MachineType
from tally.machines.priced import Catalogue


def node_selector(machine: MachineType) -> dict[str, str]:
    """The labels that a node has to have for a worker on this machine type.

    Raises:
        SpecError: it is none of a cluster.
    """
    template = worker_template(machine, "any")
    spec = pod_spec(template, secret="", subdomain="", coordinator="", prefix="")
    return dict(spec["nodeSelector"])


def nodes_by_machine_type(catalogue: Catalogue, nodes: Iterable[Object]) -> dict[str, int]:
    """How many nodes a worker on each machine type of clusters could go to, by name."""
    labels = [_labels(node) for node in nodes]
    return {
        name: sum(selector.items() <= of_node.items() for of_node in labels)
        for name, machine in sorted(catalogue.machine_types.items())
        if machine.kubernetes is not None
        for selector in (node_selector(machine),)
    }


def unpriced(catalogue: Catalogue, nodes: Iterable[Object]) -> dict[str, str]:
    """The machine types of nodes that cannot be billed, each with the catalogue's words why."""
    found = {}
    for node in nodes:
        labels = _labels(node)
        try:
            catalogue.of_node(labels)
        except SpecError as error:
            found[_type_of(labels)] = str(error)
    return found


def _type_of(labels: Mapping[str, str]) -> str:
    try:
        return machine_type_of(labels)
    except SpecError:
        return labels.get("kubernetes.io/hostname", "")


def nodes_with_image(image: str, nodes: Iterable[Object]) -> int:
    """How many nodes say that they have an image; each names at most 50 (nodeStatusMaxImages)."""
    wanted = _full(image)
    return sum(
        any(
            wanted == _full(name)
            for one in (node.get("status") or {}).get("images") or []
            for name in one.get("names") or []
        )
        for node in nodes
    )


def _full(image: str) -> str:
    """An image's name with its registry, as container runtimes complete it."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return image if "." in first or ":" in first or first == "localhost" else f"docker.io/{image}"


def _labels(node: Object) -> Mapping[str, str]:
    return node["metadata"].get("labels") or {}
