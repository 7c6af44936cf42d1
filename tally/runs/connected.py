"""The connection that `tally connect` keeps: settings that all commands read below the environment.

    $TALLY_HOME/connection.json   {"schema": 1, "context": …, "settings": {"KFP_HOST": …, …}}

The settings have the names of the environment's variables, and are put into it as a command begins,
where it does not say otherwise: so each is still read in one place. No secret is among them.
"""

import json
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from tally import storage
from tally.errors import SpecError, check_schema

SCHEMA = 1
NAMES = (
    "KUBECONFIG", "KFP_HOST", "KFP_TOKEN_FILE", "KFP_CA", "KFP_NAMESPACE", "KFP_SERVICE_ACCOUNT",
    "TALLY_METER_URL", "TALLY_METER_TOKEN_FILE", "TALLY_METER_CA", "TALLY_POD_METER_URL",
    "TALLY_MACHINES",
)  # fmt: skip
# a token goes nowhere but where it was made for
_ONLY_WITH = {
    "KFP_TOKEN_FILE": "KFP_TOKEN",
    "TALLY_METER_TOKEN_FILE": "TALLY_METER_URL",
    "TALLY_METER_CA": "TALLY_METER_URL",
}


@dataclass(frozen=True)
class Connection:
    """One cluster, as a person reaches it.

    Attributes:
        settings: by variable.
        context: of the kubeconfig that it was found with; for people.
    """

    settings: Mapping[str, str]
    context: str = ""


def file() -> Path:
    """Where it is kept."""
    return storage.home_path() / "connection.json"


def kept() -> Connection | None:
    """What is kept, None where nothing is.

    Raises:
        SpecError: the file is damaged, or of a newer Tally.
    """
    try:
        path = file()
    except RuntimeError:  # nobody's: there is no home
        return None
    try:
        document = json.loads(path.read_bytes())
        check_schema(str(path), int(document["schema"]), SCHEMA)
        settings = {str(name): str(value) for name, value in document["settings"].items()}
        if strange := set(settings) - set(NAMES):
            raise ValueError(f"the setting {min(strange)[:100]!a}")
        return Connection(settings, str(document["context"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            f"{path}: expected what `tally connect` wrote, got {type(error).__name__} "
            f"({' '.join(str(error).split())[:200]}); remove it, then make connect"
        ) from error


def keep(connection: Connection) -> None:
    """Write it, whole or not at all, in place of the last.

    Raises:
        SpecError: TALLY_HOME cannot be written. RunError: the disk is full.
    """
    storage.home()
    document = {
        "schema": SCHEMA, "context": connection.context, "settings": dict(connection.settings),
    }  # fmt: skip
    with storage.atomic_file(file()) as out:
        out.write(json.dumps(document, indent=1).encode() + b"\n")


def counts(connection: Connection, environment: Mapping[str, str]) -> bool:
    """Whether this environment names no other installation, and does not stay on this machine
    (ENGINE=local). Pure."""
    host = connection.settings.get("KFP_HOST")
    same = host is None or environment.get("KFP_HOST", host).strip().rstrip("/") == host
    return same and environment.get("ENGINE") != "local"


def added(connection: Connection, environment: Mapping[str, str]) -> dict[str, str]:
    """What of it counts beside this environment, which wins. Pure."""
    settings = connection.settings
    if not counts(connection, environment):
        return {}
    elsewhere = {
        name
        for name, partner in _ONLY_WITH.items()
        if partner in environment and environment[partner] != settings.get(partner)
    }
    return {n: v for n, v in settings.items() if n not in environment and n not in elsewhere}


_put: dict[str, str] = {}


def withdraw(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take out of the environment what `complete` put into it: a command stays on this machine."""
    for name, value in _put.items():
        if environment.get(name) == value:
            del environment[name]
    _put.clear()


def complete(environment: MutableMapping[str, str] = os.environ) -> None:
    """Put what is kept into the environment, where that does not say otherwise.

    Raises:
        SpecError: what is kept cannot be read.
    """
    if connection := kept():
        put = added(connection, environment)
        _put.clear()
        _put.update(put)
        environment.update(put)
