"""A machine type: a node's shape with its price, as a file of the catalogue gives it."""

import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tally.machines.shape import KubernetesShape
from tally.machines.shares import OPENCOST, Weights

LIMIT_USD_PER_HOUR = 1_000_000.0


def _usd_per_hour(**others: Any) -> Any:
    return Field(ge=0, le=LIMIT_USD_PER_HOUR, allow_inf_nan=False, **others)


class MachineType(BaseModel):
    """A node's shape with its price.

    Attributes:
        region: whose prices these are; "" where the provider has one price for all.
        list_price_usd_per_hour: hardware, of the whole machine, on demand, as the source lists it.
        spot_price_usd_per_hour: the same of a spot (preemptible) machine; None where the source
            has no such price, and then a spot machine cannot be billed.
        software_usd_per_hour: licences and managed-service surcharges, on demand and spot alike.
        discount_percent: off the list price of the hardware on demand; spot prices are what is
            paid.
        value_of_hour_usd: what an hour of waiting is worth where the user says nothing.
        currency: of all prices.
        source, date: where the prices stand, and of which day they are, or when they were read.
        version: of the file, kept with every interval.
        file: the path that the machine type was read from.
        cpu_cores, memory_gib: all that the machine has; None where it is not known.
        accelerator: as the node's label says it, "" for none.
        accelerator_count: of GPUs, or of chips of a TPU.
        interruptions_per_hour: how often a spot machine is taken away, on average; None: unknown.
        weights: divide the price among the resources.
        kubernetes: what a worker on it asks for there; None where it is no node of a cluster.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    provider: str = Field(min_length=1)
    region: str = ""
    list_price_usd_per_hour: float = _usd_per_hour()
    spot_price_usd_per_hour: float | None = _usd_per_hour(default=None)
    software_usd_per_hour: float = _usd_per_hour()
    discount_percent: float = Field(ge=0, le=100, allow_inf_nan=False)
    value_of_hour_usd: float = _usd_per_hour()
    currency: Literal["USD"] = "USD"
    source: str = Field(min_length=1)
    date: datetime.date
    version: str = Field(min_length=1)
    file: str = ""
    cpu_cores: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    memory_gib: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    accelerator: str = ""
    accelerator_count: int = Field(default=0, ge=0)
    interruptions_per_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    weights: Weights = OPENCOST
    kubernetes: KubernetesShape | None = None

    @property
    def price_usd_per_hour(self) -> float:
        """What an hour of the hardware costs on demand, the discount taken off."""
        price = self.list_price_usd_per_hour * (1 - self.discount_percent / 100)
        return round(price, 12)

    @model_validator(mode="after")
    def _accelerators_are_counted(self) -> "MachineType":
        if bool(self.accelerator) != bool(self.accelerator_count):
            raise ValueError("expected accelerator and accelerator_count together, or neither")
        return self
