"""A Python file of the user's: `model()` and `dataset()` out of path/to/mine.py."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tally.errors import SpecError


def is_user_file(name: str) -> bool:
    """Whether `name` means a Python file rather than something packaged."""
    return name.endswith(".py")


def function(path: str, name: str) -> Callable[[], Any]:
    """The function `name` of the file at `path`.

    Raises:
        SpecError: no such file, it does not import, or it has no such function.
    """
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise SpecError(
            f"{path}: expected a Python file with {name}(), got no such file; check the path"
        )
    spec = importlib.util.spec_from_file_location(f"tally_user_{file.stem}", file)
    assert spec and spec.loader
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # for imports of the user's files beside it
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SpecError(
            f"{path}: expected a file that imports, got {type(error).__name__}: {error}; "
            f"try `python {path}`"
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        raise SpecError(f"{path}: expected a function {name}(), got none; define it")
    return found  # type: ignore[no-any-return]
