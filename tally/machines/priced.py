"""What an hour of a machine costs, by the machine types there are. Pure."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from tally.errors import SpecError
from tally.machines.labels import is_spot, machine_type_of, region_of
from tally.machines.machine_type import MachineType
from tally.machines.shares import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedMachine:
    """What an hour of one machine costs.

    Attributes:
        machine_type, provider: of the catalogue.
        region: where the machine is; where nothing tells it, that of its price.
        price_region: whose price it is. The catalogue has one region's prices a machine type, and
            a machine elsewhere is charged them: a bill says so where the two differ.
        spot: whether the price is that of a spot machine.
        price_usd_per_hour: hardware, of the whole machine, discounts taken off.
        list_price_usd_per_hour: the same before discounts; of a spot machine what is paid.
        software_usd_per_hour: licences and managed-service surcharges.
        currency: of both.
        catalogue_version: of the file that the price is from.
        weights: divide the price among the machine's resources.
    """

    machine_type: str
    provider: str
    region: str
    price_region: str
    spot: bool
    price_usd_per_hour: float
    list_price_usd_per_hour: float
    software_usd_per_hour: float
    currency: str
    catalogue_version: str
    weights: Weights


@dataclass(frozen=True)
class Catalogue:
    """All machine types by name.

    Attributes:
        machine_types: by name.
        own_file: where the user's own prices go, in words.
    """

    machine_types: Mapping[str, MachineType]
    own_file: str = "a YAML file of your own, and name it in TALLY_MACHINES"

    def machine(self, name: str) -> MachineType:
        """The machine type of that name.

        Raises:
            SpecError: there is none; the nearest name is told, and where to add it.
        """
        found = self.machine_types.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.machine_types, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? Else " if near else ""
            raise SpecError(
                f"machine type: expected one of the catalogue's {len(self.machine_types)}, got "
                f"{name}; {hint}add machine_types.{name} to {self.own_file}"
            )
        return found

    def priced(self, name: str, *, spot: bool = False, region: str = "") -> PricedMachine:
        """What an hour of a machine of that type costs.

        Args:
            name: of the machine type.
            spot: a spot machine; its price is never that on demand.
            region: where it is, "" where that is not known.

        Raises:
            SpecError: there is no such machine type, or it has no spot price: file and key are
                named.
        """
        kind = self.machine(name)
        price = kind.spot_price_usd_per_hour if spot else kind.price_usd_per_hour
        if price is None:
            key = f"machine_types.{name}.spot_price_usd_per_hour"
            raise SpecError(
                f"{kind.file}: expected a value for {key}, as the machine is spot, got nothing; "
                f"add the key to {self.own_file}"
            )
        return PricedMachine(
            machine_type=name,
            provider=kind.provider,
            region=region or kind.region,
            price_region=kind.region,
            spot=spot,
            price_usd_per_hour=price,
            list_price_usd_per_hour=price if spot else kind.list_price_usd_per_hour,
            software_usd_per_hour=kind.software_usd_per_hour,
            currency=kind.currency,
            catalogue_version=kind.version,
            weights=kind.weights,
        )

    def of_node(self, labels: Mapping[str, str]) -> PricedMachine:
        """What an hour of a Kubernetes node costs, from its labels.

        Raises:
            SpecError: no label tells its machine type, or as `priced`.
        """
        name = machine_type_of(labels)
        return self.priced(name, spot=is_spot(labels), region=region_of(labels))
