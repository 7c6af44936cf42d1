"""A training's variables by names that are the same in every process."""

from collections.abc import Mapping
from typing import Any

from tally.data.format import Array
from tally.errors import SpecError
from tally.learning.tensorflow.after import After


def named(model: Any, optimizer: Any, after: After | None) -> dict[str, Any]:
    """Every variable that a checkpoint must hold."""
    groups = {
        "model": model.variables,
        "optimizer": optimizer.variables,
        "after": after.variables if after else (),
    }
    return {
        f"{group}/{i:04d}.{variable.name}": variable
        for group, variables in groups.items()
        for i, variable in enumerate(variables)
    }


def assign(variables: Mapping[str, Any], tensors: Mapping[str, Array], where: str) -> None:
    """Set them all.

    Raises:
        SpecError: the tensors are another model's; nothing was set.
    """
    wanted = {name: tuple(variable.shape) for name, variable in variables.items()}
    found = {name: value.shape for name, value in tensors.items()}
    if wanted != found:
        odd = sorted(wanted.items() ^ found.items())[0][0]
        raise SpecError(
            f"{where}: expected the variables of this model, got others (first: {odd}, "
            f"{found.get(odd)} instead of {wanted.get(odd)}); submit a new run"
        )
    for name, variable in variables.items():
        variable.assign(tensors[name])
