"""Models by name: a file of this room, or a Python file of the user's with model()."""

import difflib
import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tally import userfile
from tally.data.format import Meta
from tally.errors import SpecError
from tally.models import own
from tally.models.flops import ModelCost

if TYPE_CHECKING:
    import keras

_NOT_MODELS = ("__init__", "flops", "memory", "own", "registry")


def names() -> list[str]:
    """The packaged models: every other file of this folder is one."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if file.stem not in _NOT_MODELS)


def find(name: str) -> None:
    """Refuse a model that is not there; a user's file is only looked for, not run.

    Raises:
        SpecError: no such model (the nearest is named) or file.
    """
    if not userfile.is_user_file(name):
        _packaged(name)
    elif not Path(name).is_file():
        raise SpecError(
            f"{name}: expected a Python file with model(), got no such file; check the path"
        )


def check(name: str, meta: Meta) -> None:
    """Say whether model `name` exists and fits the dataset; imports no TensorFlow.

    A user's file is run where TensorFlow is, by `build`.

    Raises:
        SpecError: no such model or file.
        DataError: the dataset's shapes do not fit a packaged model.
    """
    find(name)
    if not userfile.is_user_file(name):
        _packaged(name).check(meta)


def build(name: str, meta: Meta) -> "keras.Model":
    """The untrained model; a user's own may be compiled already.

    Raises:
        SpecError: no such model; the user's file or its model() fails, or gives no keras.Model.
        DataError: the model does not fit the dataset.
    """
    if not userfile.is_user_file(name):
        module = _packaged(name)
        module.check(meta)
        return module.build(meta)
    return own.build(name, meta)


def cost(name: str, meta: Meta) -> ModelCost | None:
    """What the model costs for one example; None for a user's own, which has no closed form.

    Raises:
        SpecError: no such model.
    """
    if userfile.is_user_file(name):
        return None
    return ModelCost(tuple(_packaged(name).layers(meta)))


def _packaged(name: str) -> ModuleType:
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else "or give a Python file with model()"
        raise SpecError(f"model: expected one of {', '.join(names())}, got {name}; {hint}")
    return importlib.import_module(f"tally.models.{name}")
