"""The catalogue: what an hour of each machine type costs. Prices live in this folder only.

One YAML file a provider: adding a provider is adding a file. The user's own prices are in one more
file, or a folder of them, that TALLY_MACHINES names.
"""

import functools
import os
from pathlib import Path

from tally.machines.files import VARIABLE, Stamp, local_prices, read, stamps
from tally.machines.machine_type import MachineType
from tally.machines.priced import Catalogue

_PACKAGED = Path(__file__).parent


def load(folder: Path = _PACKAGED) -> Catalogue:
    """Every provider's machine types, then the user's own over them; read once while unchanged.

    TALLY_MACHINES names the user's file or folder. An entry of a machine type that exists replaces
    just the keys that it has; a new one must be whole. The price variables (TALLY_PRICE_PER_HOUR
    and so on) replace those of `local`.

    Args:
        folder: where the providers' files are.

    Raises:
        SpecError: a file lacks a price (file and key are named) or holds a bad one, two files have
            the same machine type, or a variable holds no price.
    """
    own = os.environ.get(VARIABLE, "").strip()
    return load_with(Path(own) if own else None, folder)


def load_with(own: Path | None, folder: Path = _PACKAGED) -> Catalogue:
    """As `load`, with this file or folder in the place of TALLY_MACHINES'; None for none."""
    return _load(
        stamps(folder, what="folder"),
        stamps(own, what=VARIABLE) if own else (),
        tuple(local_prices().items()),
        str(own or ""),
    )


@functools.lru_cache(maxsize=4)
def _load(
    packaged: tuple[Stamp, ...],
    own: tuple[Stamp, ...],
    local: tuple[tuple[str, float], ...],
    own_file: str,
) -> Catalogue:
    paths = [[Path(stamp.path) for stamp in layer] for layer in (packaged, own)]
    machine_types = read(paths[0], paths[1], dict(local))
    return Catalogue(machine_types, own_file) if own_file else Catalogue(machine_types)


def machine(name: str) -> MachineType:
    """The machine type of that name, prices as of now.

    Raises:
        SpecError: as `load`, or there is none of that name.
    """
    return load().machine(name)
