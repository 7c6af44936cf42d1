"""The catalogue: what an hour of each machine type costs. Prices live in this folder only.

One YAML file a provider: adding a provider is adding a file.
"""

import datetime
import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tally.errors import SpecError
from tally.machines.shape import KubernetesShape

_OVERRIDES = {
    "list_price_usd_per_hour": "TALLY_PRICE_PER_HOUR",
    "software_usd_per_hour": "TALLY_SOFTWARE_PRICE_PER_HOUR",
    "value_of_hour_usd": "TALLY_VALUE_OF_HOUR",
}
_LIMIT_USD_PER_HOUR = 1_000_000.0


def _usd_per_hour() -> Any:
    return Field(ge=0, le=_LIMIT_USD_PER_HOUR, allow_inf_nan=False)


class MachineType(BaseModel):
    """A node's shape with its price.

    Attributes:
        list_price_usd_per_hour: hardware, of the whole machine, as the source lists it.
        software_usd_per_hour: licences and managed-service surcharges.
        discount_percent: off the list price of the hardware.
        value_of_hour_usd: what an hour of waiting is worth where the user says nothing.
        source, date: where the price stands, and when it was read there.
        version: of the file, kept with every interval.
        kubernetes: what a worker on it asks for there; None where it is no node of a cluster.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    provider: str
    list_price_usd_per_hour: float = _usd_per_hour()
    software_usd_per_hour: float = _usd_per_hour()
    discount_percent: float = Field(ge=0, le=100, allow_inf_nan=False)
    value_of_hour_usd: float = _usd_per_hour()
    source: str = Field(min_length=1)
    date: datetime.date
    version: str = Field(min_length=1)
    kubernetes: KubernetesShape | None = None

    @property
    def price_usd_per_hour(self) -> float:
        """What an hour of the hardware costs, the discount taken off."""
        price = self.list_price_usd_per_hour * (1 - self.discount_percent / 100)
        return round(price, 12)


@dataclass(frozen=True)
class Catalogue:
    """All machine types by name."""

    machine_types: Mapping[str, MachineType]

    def machine(self, name: str) -> MachineType:
        """The machine type of that name.

        Raises:
            SpecError: there is none; the nearest name is told.
        """
        found = self.machine_types.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.machine_types, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "add it to a file in tally/machines"
            names = ", ".join(self.machine_types)
            raise SpecError(f"machine type: expected one of {names}, got {name}; {hint}")
        return found


def load(folder: Path = Path(__file__).parent) -> Catalogue:
    """Every provider's machine types; the environment overrides the prices of `local`.

    $TALLY_MACHINES is a folder with more of them, the machine types of the user's own cluster.

    Args:
        folder: where the YAML files are.

    Raises:
        SpecError: a file lacks a price (file and key are named) or holds a bad one, or an override
            is no price.
    """
    types: dict[str, MachineType] = {}
    others = os.environ.get("TALLY_MACHINES")
    for source in [folder, *([Path(others)] if others else [])]:
        for path in sorted(source.glob("*.yaml")):
            types.update(_read(path))
    return Catalogue(types)


def machine(name: str) -> MachineType:
    """The machine type of that name, prices as of now.

    Raises:
        SpecError: as `load`, or there is none of that name.
    """
    return load().machine(name)


def _read(path: Path) -> dict[str, MachineType]:
    """One provider's machine types by name."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        provider, version = str(content["provider"]), str(content["version"])
        types = dict(content["machine_types"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        what = " ".join(str(error).split())
        raise SpecError(
            f"{path}: expected YAML with provider, version and machine_types, got {what}; "
            "write it like local.yaml"
        ) from error
    return {
        str(name): _machine_type(path, str(name), provider, version, dict(values or {}))
        for name, values in types.items()
    }


def _machine_type(
    path: Path, name: str, provider: str, version: str, values: dict[str, Any]
) -> MachineType:
    if provider == "local":
        values |= _overrides()
    try:
        return MachineType.model_validate(
            {**values, "name": name, "provider": provider, "version": version}
        )
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["machine_types", name, *map(str, first["loc"])])
        got = "nothing" if first["type"] == "missing" else repr(first["input"])
        raise SpecError(
            f"{path}: expected a value for {key} ({first['msg'].lower()}), got {got}; "
            "write it into the file (0 only where it really costs nothing)"
        ) from error


def _overrides() -> dict[str, float]:
    """The user's own prices, from the environment; an empty variable says nothing.

    Raises:
        SpecError: one is no price.
    """
    given = {}
    for key, variable in _OVERRIDES.items():
        if text := os.environ.get(variable, "").strip():
            given[key] = _price(variable, text)
            if key == "list_price_usd_per_hour":
                given["discount_percent"] = 0.0  # the user's own price is what is paid
    return given


def _price(variable: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _LIMIT_USD_PER_HOUR:
        raise SpecError(
            f"{variable}: expected USD an hour, 0 to {_LIMIT_USD_PER_HOUR:.0f}, "
            f'got "{text}"; set {variable}=0.10 or unset it'
        )
    return value
