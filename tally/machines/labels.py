"""What a node's labels say of its machine type, its region and whether it is spot. Pure."""

from collections.abc import Mapping

from tally.errors import SpecError

OWN_LABEL = "tally.dev/machine-type"
TYPE_LABEL = "node.kubernetes.io/instance-type"
REGION_LABEL = "topology.kubernetes.io/region"
SPOT_LABELS = {
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/gke-preemptible": "true",
    "karpenter.sh/capacity-type": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
    "eks.amazonaws.com/capacityType": "spot",
}
"""Label → what it says, in lower case, on a machine that may be taken away at any moment."""


def machine_type_of(labels: Mapping[str, str]) -> str:
    """The node's machine type: the user's own label, else the provider's.

    Raises:
        SpecError: it has neither label.
    """
    name = labels.get(OWN_LABEL) or labels.get(TYPE_LABEL)
    if not name:
        node = labels.get("kubernetes.io/hostname", "NAME")
        raise SpecError(
            f"node {node}: expected the label {TYPE_LABEL} or {OWN_LABEL}, got neither; "
            f"run kubectl label node {node} {OWN_LABEL}=TYPE"
        )
    return name


def is_spot(labels: Mapping[str, str]) -> bool:
    """Whether the node is one of its provider's spot or preemptible machines."""
    return any(labels.get(name, "").lower() == word for name, word in SPOT_LABELS.items())


def region_of(labels: Mapping[str, str]) -> str:
    """The node's region, "" where no label tells it."""
    return labels.get(REGION_LABEL, "")
