"""The project folder's pipelines, and the user's own file as one."""

import difflib
import importlib
import re
import sys
from pathlib import Path
from typing import Any

from tally.errors import SpecError
from tally.spec import Spec, validate
from tally.userfile import is_user_file

# pipelines/ and components/ are used from the project's folder and never installed: their names
# are too general for site-packages.
PROJECT = Path(__file__).resolve().parents[2]


def names() -> list[str]:
    """The packaged pipelines."""
    found = (path.stem for path in (PROJECT / "pipelines").glob("*.py"))
    return sorted(name for name in found if not name.startswith("_"))


def user_path(name: str) -> Path:
    """A path as the user wrote it, absolute: steps and a later resume run elsewhere."""
    return Path(name).expanduser().absolute()


def check(name: str) -> None:
    """Refuse a pipeline that is not there, without importing Kubeflow Pipelines.

    Raises:
        SpecError: no such pipeline (the nearest is named), or no such file.
    """
    if is_user_file(name):
        if not user_path(name).is_file():
            raise SpecError(f"{name}: expected a Python file, got no such file; check the path")
    elif name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else "or give the path of a file of your own"
        raise SpecError(f"PIPELINE: expected one of {', '.join(names())}, got {name!r}; {hint}")


def load(name: str) -> Any:
    """The KFP pipeline `name`, or the chain around the user's own file.

    Raises:
        SpecError: no such pipeline or file.
    """
    check(name)
    if str(PROJECT) not in sys.path:
        sys.path.insert(0, str(PROJECT))
    if is_user_file(name):
        chain = importlib.import_module("components.chain").chain
        path = user_path(name)
        slug = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "own"
        return chain(slug, f"The user's own {path.name}.", model=str(path), dataset=str(path))
    return getattr(importlib.import_module(f"pipelines.{name}"), name)


def spec(pipeline: Any, settings: dict[str, str]) -> Spec:
    """The pipeline's presets with the user's settings over them, validated.

    Raises:
        SpecError: a setting is unknown or out of bounds.
    """
    presets = {name: given.default for name, given in pipeline.component_spec.inputs.items()}
    return validate(f"pipelines/{pipeline.name}", {**presets, **settings})
