"""What a user's file imports, against what the image has: known before anything is submitted.

The image has what requirements/local.lock lists. Which modules a distribution brings is read off
this environment, which was made from the same lock.
"""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tally.errors import SpecError
from tally.userfile import UserFile

_LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==", re.MULTILINE)


def imported(source: str) -> set[str]:
    """The top-level modules that a file needs; "." is a relative import.

    Left out is what it can do without: below `try:` with an `except` for a failed import, and
    below `if TYPE_CHECKING:`.
    """
    found: set[str] = set()
    _walk(ast.parse(source), found)
    return found


def _walk(node: ast.AST, found: set[str]) -> None:
    match node:
        case ast.Import(names=names):
            found.update(alias.name.partition(".")[0] for alias in names)
        case ast.ImportFrom(module=module, level=level):
            found.add("." if level else str(module).partition(".")[0])
        case ast.Try(body=body, handlers=handlers) if any(map(_catches_import, handlers)):
            for child in ast.iter_child_nodes(node):
                if child not in body:
                    _walk(child, found)
        case ast.If(test=test, orelse=otherwise) if _is_type_checking(test):
            for child in otherwise:
                _walk(child, found)
        case _:
            for child in ast.iter_child_nodes(node):
                _walk(child, found)


def _catches_import(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    names = {kind.id if isinstance(kind, ast.Name) else None for kind in kinds}
    return caught is None or bool(
        names & {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
    )


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return bool(name == "TYPE_CHECKING")


def in_image(lock: str, owners: Mapping[str, Iterable[str]]) -> set[str]:
    """The top-level modules that an image made from this lock has.

    Args:
        lock: text of requirements/local.lock.
        owners: top-level module → distributions that bring it, those of this environment.
    """
    locked = {_normal(name) for name in _LOCKED.findall(lock)}
    brought = {
        module for module, names in owners.items() if locked & {_normal(name) for name in names}
    }
    # what is locked for the image's platform only is taken by its name
    named = {name.replace("-", "_") for name in locked}
    return brought | named | set(sys.stdlib_module_names) | {"tally"}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def require_in_image(path: str, file: UserFile, lock: Path) -> None:
    """Refuse a file that could not be imported in a pod.

    Args:
        path: as the user gave it.
        file: that is there.
        lock: requirements/local.lock.

    Raises:
        SpecError: names what the image lacks.
    """
    needed = imported(file.source) - {Path(file.name).stem}
    owners = importlib.metadata.packages_distributions()
    missing = sorted(needed - in_image(lock.read_text(), owners))
    if not missing:
        return
    folder = Path(path).expanduser().absolute().parent
    beside = [
        name
        for name in missing
        if name == "." or (folder / f"{name}.py").exists() or (folder / name).is_dir()
    ]
    if beside:
        names = ", ".join("a relative import" if name == "." else name for name in beside)
        raise SpecError(
            f"{path}: expected one file that stands by itself, since only it travels to the "
            f"cluster, got an import of what lies beside it: {names}; put that into {file.name}"
        )
    raise SpecError(
        f"{path}: expected imports that the image has, got {', '.join(missing)}; leave them out, "
        "or add them to requirements/local.in, then `make lock` and `make images`"
    )
