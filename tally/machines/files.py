"""The files of the catalogue: read, laid over each other, checked.

A file is YAML with `provider`, `version` and `machine_types`, and `defaults`: what each machine
type of the file has unless it says otherwise.
"""

import math
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from tally.errors import SpecError
from tally.machines.machine_type import LIMIT_USD_PER_HOUR, MachineType

VARIABLE = "TALLY_MACHINES"
_PRICE_VARIABLES = {
    "list_price_usd_per_hour": "TALLY_PRICE_PER_HOUR",
    "software_usd_per_hour": "TALLY_SOFTWARE_PRICE_PER_HOUR",
    "value_of_hour_usd": "TALLY_VALUE_OF_HOUR",
}
_KEYS = {"provider", "version", "defaults", "machine_types"}
_FROM_THE_FILE = {"name", "provider", "version", "file"}


class Stamp(NamedTuple):
    """A file as it is now; another stamp, another content."""

    path: str
    modified_nanoseconds: int
    size_bytes: int


@dataclass(frozen=True)
class _File:
    path: Path
    provider: str
    version: str
    defaults: dict[str, Any]
    machine_types: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class _Entry:
    """A machine type before it is checked, with where each of its keys stands, and the last file
    that says something of it.
    """

    name: str
    values: dict[str, Any]
    places: dict[str, tuple[Path, str]]
    path: Path


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML, in C where that is built in; a key that is there twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.YAMLError(f"{key.value} twice, again in line {key.start_mark.line + 1}")
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep))


def stamps(source: Path, *, what: str) -> tuple[Stamp, ...]:
    """The YAML files of a folder, or the one file.

    Args:
        source: a folder or a file.
        what: names it in the error.

    Raises:
        SpecError: there is neither.
    """
    try:
        paths = sorted(source.glob("*.yaml")) if source.is_dir() else [source]
        found = [(path, path.stat()) for path in paths]
    except OSError as error:
        raise SpecError(
            f"{what}: expected a YAML file or a folder of them, got {source} ({error.strerror}); "
            f"correct or unset {what}"
        ) from error
    return tuple(Stamp(str(path), stat.st_mtime_ns, stat.st_size) for path, stat in found)


def local_prices() -> dict[str, float]:
    """The user's own prices of `local`, from the environment; an empty variable says nothing.

    Raises:
        SpecError: one is no price.
    """
    given = {}
    for key, variable in _PRICE_VARIABLES.items():
        if text := os.environ.get(variable, "").strip():
            given[key] = _price(variable, text)
            if key == "list_price_usd_per_hour":
                given["discount_percent"] = 0.0  # the user's own price is what is paid
    return given


def read(
    packaged: Iterable[Path], own: Iterable[Path], local: Mapping[str, float]
) -> dict[str, MachineType]:
    """All machine types by name.

    Args:
        packaged: the providers' files.
        own: the user's.
        local: replaces values of the provider `local`.

    Raises:
        SpecError: see `load`.
    """
    entries: dict[str, _Entry] = {}
    for paths, theirs in ((packaged, False), (own, True)):
        origins: dict[str, Path] = {}
        for file in (_parsed(path, theirs) for path in paths):
            for name, values in file.machine_types.items():
                if name in origins:
                    raise SpecError(
                        f"{file.path}: expected machine_types.{name} in one file, got it in "
                        f"{origins[name]} too; take one of them out"
                    )
                origins[name] = file.path
                entries[name] = _laid_over(entries.get(name), file, name, values)
    return {name: _checked(entry, local) for name, entry in entries.items()}


def _parsed(path: Path, theirs: bool) -> _File:
    """A file's content. The user's own needs no provider and no version."""
    try:
        data = path.read_bytes()
        content = yaml.load(data, _Loader)  # noqa: S506 - a safe one
        types = {
            str(name): dict(values or {})
            for name, values in (content["machine_types"] or {}).items()
        }
        defaults = dict(content.get("defaults") or {})
        if theirs:
            version = f"own-{zlib.crc32(data):08x}"  # a change of the file is a change of version
            content = {"provider": "own", "version": version, **content}
        provider, version = str(content["provider"]), str(content["version"])
    except (yaml.YAMLError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        what = " ".join(str(error).split())
        raise SpecError(
            f"{path}: expected YAML with provider, version and machine_types, got {what}; "
            "write it like local.yaml"
        ) from error
    for key in content.keys() - _KEYS:
        raise SpecError(
            f"{path}: expected only {', '.join(sorted(_KEYS))} at the top, got {key}; what all "
            f"machine types have goes below defaults"
        )
    for where, values in [
        ("defaults", defaults),
        *((f"machine_types.{n}", v) for n, v in types.items()),
    ]:
        for key in values.keys() & _FROM_THE_FILE:
            raise SpecError(f"{path}: expected no {where}.{key}, got one; take it out")
    return _File(path, provider, version, defaults, types)


def _laid_over(below: _Entry | None, file: _File, name: str, values: Mapping[str, Any]) -> _Entry:
    """A machine type with the keys that a file has for it."""
    places = {key: (file.path, f"machine_types.{name}.{key}") for key in values}
    if below is not None:
        version = f"{below.values['version']}+{file.version}"
        changed = {**below.values, **values, "version": version}
        return _Entry(name, changed, {**below.places, **places}, file.path)
    whole = {**file.defaults, **values, "name": name, "provider": file.provider}
    whole |= {"version": file.version, "file": str(file.path)}
    shared = {key: (file.path, f"defaults.{key}") for key in file.defaults}
    return _Entry(name, whole, {**shared, **places}, file.path)


def _checked(entry: _Entry, local: Mapping[str, float]) -> MachineType:
    more = local if entry.values["provider"] == "local" else {}
    try:
        return MachineType.model_validate({**entry.values, **more})
    except ValidationError as error:
        raise _wrong(entry, error) from error


def _wrong(entry: _Entry, error: ValidationError) -> SpecError:
    """The first mistake in one line: file, key, what is expected, what stands there."""
    first = error.errors()[0]
    key, *rest = [str(part) for part in first["loc"]] or [""]
    here = f"machine_types.{entry.name}"
    path, place = entry.places.get(key, (entry.path, f"{here}.{key}" if key else here))
    place = ".".join([place, *rest])
    message = first["msg"].removeprefix("Value error, ")
    got = (
        "nothing" if first["type"] == "missing" else repr(first["input"]) if key else "one of them"
    )
    if key == "currency":
        remedy = "give all prices in USD"
    elif "usd" in key or first["type"] == "missing":
        remedy = "write it into the file (0 only where it really costs nothing)"
    else:
        remedy = "correct it there"
    return SpecError(
        f"{path}: expected a value for {place} ({message[0].lower()}{message[1:]}), got {got}; "
        f"{remedy}"
    )


def _price(variable: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LIMIT_USD_PER_HOUR:
        raise SpecError(
            f"{variable}: expected USD an hour, 0 to {LIMIT_USD_PER_HOUR:.0f}, "
            f'got "{text}"; set {variable}=0.10 or unset it'
        )
    return value
