"""Which part of a node's price is for its cores, its memory and its accelerators. Pure.

A price list has one price for the whole machine. It is divided as OpenCost does: each resource
counts with what the node has of it times a weight, and gets its part of the sum:

    share(resource) = amount x weight / sum over all resources of (amount x weight)

Only the ratios of the weights matter. Source: OpenCost's documentation, "Cost allocation", and its
configs/default.json.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from tally.errors import SpecError

_GIB = 2**30
_PARTS = 2**40  # shares are whole parts of it: their sum is 1 in binary, whatever the order


class Weights(BaseModel):
    """What a unit of each resource counts, in USD an hour. Defaults are OpenCost's.

    Attributes:
        cpu_usd_per_core_hour: of a core.
        memory_usd_per_gib_hour: of a GiB.
        accelerator_usd_per_hour: of a GPU, or of a chip of a TPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu_usd_per_core_hour: float = Field(default=0.031611, gt=0, allow_inf_nan=False)
    memory_usd_per_gib_hour: float = Field(default=0.004237, ge=0, allow_inf_nan=False)
    accelerator_usd_per_hour: float = Field(default=0.95, ge=0, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class PriceShares:
    """Parts of a node's price for each resource; they add up to 1 exactly."""

    cpu: float
    memory: float
    accelerator: float


OPENCOST = Weights()


def price_shares(
    cpu_cores: float, memory_bytes: int, accelerators: float, weights: Weights = OPENCOST
) -> PriceShares:
    """Divide a node's price among its resources.

    Args:
        cpu_cores, memory_bytes, accelerators: all that the node has.
        weights: of its provider.

    Raises:
        SpecError: no cores, or less than nothing of another resource.
    """
    if not (cpu_cores > 0 and memory_bytes >= 0 and accelerators >= 0):
        raise SpecError(
            f"node: expected cores above 0, memory and accelerators from 0, got {cpu_cores} cores, "
            f"{memory_bytes} bytes, {accelerators} accelerators; look at the node's capacity"
        )
    cpu = cpu_cores * weights.cpu_usd_per_core_hour
    memory = memory_bytes / _GIB * weights.memory_usd_per_gib_hour
    accelerator = accelerators * weights.accelerator_usd_per_hour
    whole = cpu + memory + accelerator
    memory_parts = round(memory / whole * _PARTS)
    accelerator_parts = round(accelerator / whole * _PARTS)
    return PriceShares(
        cpu=(_PARTS - memory_parts - accelerator_parts) / _PARTS,
        memory=memory_parts / _PARTS,
        accelerator=accelerator_parts / _PARTS,
    )
