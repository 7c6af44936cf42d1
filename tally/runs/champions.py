"""The registry as people ask for it."""

import getpass
from typing import Any

from tally.errors import DataError, SpecError
from tally.evaluation.registry import Registry, Reign, Version

SCHEMA = 1


def listed() -> dict[str, Any]:
    """The champion of each model; one that is damaged is listed as such."""
    registry, rows = Registry(), []
    for model in registry.models():
        try:
            pointer = registry.pointer(model)
        except DataError as error:
            rows.append(_damaged(model, "?", str(error), 0))
            continue
        if pointer:
            rows.append(_row(registry, model, pointer.now, "champion"))
    return {"schema": SCHEMA, "versions": rows}


def history(model: str) -> dict[str, Any]:
    """All versions of a model that were champion or could be, the champion first.

    Raises:
        SpecError: there is no such model.
        DataError: its pointer is damaged.
    """
    registry = Registry()
    names = registry.versions(model)
    pointer = registry.pointer(model)
    if not names and pointer is None:
        known = ", ".join(registry.models()) or "none yet"
        raise SpecError(
            f"{model}: expected a model of the registry ({known}), got none; choose one"
        )
    rows, seen = [], set[str]()
    reigns = []
    if pointer:
        reigns = [(pointer.now, "champion")]
        reigns += [(each, "earlier") for each in reversed(pointer.before)]
        reigns += [(each, "rolled back") for each in reversed(pointer.undone)]
    reigns += [(Reign(name, 0, ""), "never champion") for name in reversed(names)]
    for reign, state in reigns:
        if reign.version not in seen:
            seen.add(reign.version)
            rows.append(_row(registry, model, reign, state))
    return {"schema": SCHEMA, "versions": rows}


def rollback(model: str, to: str | None) -> Version:
    """Make an earlier champion champion again.

    Raises:
        SpecError: nobody is champion, or there is no earlier one.
        DataError: what is to be champion is damaged.
    """
    return Registry().rollback(model, to, f"rollback by {_who()}")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return "somebody"


def _row(registry: Registry, model: str, reign: Reign, state: str) -> dict[str, Any]:
    try:
        version = registry.version(model, reign.version)
    except DataError as error:
        return _damaged(model, reign.version, str(error), reign.since_microseconds)
    lineage = version.lineage
    return {
        "model": model,
        "version": version.name,
        "state": state,
        "since_microseconds": reign.since_microseconds,
        "by": reign.by,
        "run": lineage.get("run", ""),
        "candidate": lineage.get("candidate", ""),
        "dataset": (lineage.get("dataset") or {}).get("name", ""),
        "metrics": lineage.get("metrics") or {},
        "bill_usd": lineage.get("bill_usd"),
    }


def _damaged(model: str, version: str, why: str, since: int) -> dict[str, Any]:
    return {
        "model": model,
        "version": version,
        "state": "damaged",
        "since_microseconds": since,
        "why": why,
    }
