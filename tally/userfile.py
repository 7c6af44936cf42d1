"""A Python file of the user's: `model()` and `dataset()` out of path/to/mine.py.

On this machine it stays a path. To a cluster its source travels inside the compiled pipeline, in
one environment variable: KFP's driver gets a step's container as one argument, of which Linux takes
128 KiB, so it goes compressed. Whoever needs it in a pod puts it where its path says (`unpack`).
"""

import ast
import base64
import hashlib
import importlib.machinery
import importlib.util
import json
import lzma
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import CodeType
from typing import Any

from tally import usercode
from tally.errors import SpecError

VARIABLE = "TALLY_USER_FILES"
POD_FOLDER = PurePosixPath("/tmp/tally-user")  # noqa: S108  a pod has its own
LARGEST_BYTES = 256 << 10
LARGEST_PACKED_BYTES = 80 << 10


@dataclass(frozen=True)
class UserFile:
    """A file that travels.

    Attributes:
        name: its own, without folders.
        source: all of it.
    """

    name: str
    source: str

    @property
    def pod_path(self) -> str:
        """Where pods find it; another source has another path, so checkpoints tell them apart."""
        digest = hashlib.sha256(self.source.encode()).hexdigest()
        return str(POD_FOLDER / digest[:16] / self.name)


def is_user_file(name: str) -> bool:
    """Whether `name` means a Python file rather than something packaged."""
    return name.endswith(".py")


def read(path: str, functions: Iterable[str]) -> UserFile:
    """The file at `path`, to travel; it is not run.

    Args:
        path: as the user gave it.
        functions: that it must define.

    Raises:
        SpecError: it cannot be read or parsed, is too big, or lacks one of the functions.
    """
    file = Path(path).expanduser().absolute()
    try:
        size = file.stat().st_size
        source = file.read_bytes().decode("utf-8-sig") if size <= LARGEST_BYTES else ""
    except (OSError, UnicodeDecodeError) as error:
        got = error.strerror if isinstance(error, OSError) else "another encoding"
        raise SpecError(
            f"{path}: expected a Python file in UTF-8 that this user can read, got '{got}'; "
            "check the path, its permissions and its encoding"
        ) from error
    if size > LARGEST_BYTES:
        raise SpecError(
            f"{path}: expected at most {LARGEST_BYTES >> 10} KiB of source text to travel with the "
            f"pipeline, got {size / 1024:.0f} KiB; move data out of it, into a dataset"
        )
    try:
        tree = ast.parse(source, path)
    except (SyntaxError, ValueError) as error:
        raise usercode.failed(path, "Python", error, "correct it") from error
    for name in functions:
        if not _defines(tree, name):
            raise SpecError(f"{path}: expected a function {name}(), got none; define it")
    return UserFile(file.name, source)


def _defines(node: ast.AST, name: str) -> bool:
    """Whether something outside of functions and classes is called that."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name == name
        case ast.Name(id=given, ctx=ast.Store()):
            return given == name
        case ast.alias():
            return (node.asname or node.name) in (name, "*")
        case ast.Lambda():
            return False
    return any(_defines(child, name) for child in ast.iter_child_nodes(node))


def pack(files: Iterable[UserFile]) -> str:
    """The value of VARIABLE with these files; the same files give the same text.

    Raises:
        SpecError: they do not fit.
    """
    sources = {file.pod_path: file.source for file in files}
    text = json.dumps(sources, sort_keys=True)
    # not base85: Kubernetes and Argo take $( and {{ for their own
    packed = base64.b64encode(lzma.compress(text.encode(), preset=9)).decode()
    if len(packed) > LARGEST_PACKED_BYTES:
        names = " and ".join(sorted(PurePosixPath(path).name for path in sources))
        raise SpecError(
            f"{names}: expected source text that compresses to {LARGEST_PACKED_BYTES >> 10} KiB to "
            f"travel with the pipeline, got {len(packed) / 1024:.0f} KiB; move data out of it, "
            "into a dataset"
        )
    return packed


def unpack(environment: Mapping[str, str] = os.environ) -> None:
    """Put the files that travelled with this pod where their paths say.

    Raises:
        SpecError: the variable holds something else.
    """
    packed = environment.get(VARIABLE, "")
    if not packed:
        return
    try:
        sources = json.loads(lzma.decompress(base64.b64decode(packed, validate=True)))
        items = [(Path(path), str(source)) for path, source in sources.items()]
    except (ValueError, lzma.LZMAError, AttributeError) as error:
        raise SpecError(
            f"{VARIABLE}: expected what compiling puts there, got something else "
            f"({type(error).__name__}); compile the pipeline again"
        ) from error
    for path, source in items:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(source.encode())
        temporary.replace(path)


class _Loader(importlib.machinery.SourceFileLoader):
    """Python's own, without bytecode: it writes nothing beside a user's file, and a file that was
    changed within the same second is not taken for what it was before."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def function(path: str, name: str) -> Callable[[], Any]:
    """The function `name` of the file at `path`.

    Raises:
        SpecError: no such file, or it has no such function.
        UserCodeError: it does not import.
    """
    return members(path, name)[0]  # type: ignore[no-any-return]


def members(path: str, name: str, *constants: str) -> tuple[Any, ...]:
    """As `function`, and constants of the file, which is run once: None where there is none."""
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise SpecError(
            f"{path}: expected a Python file with {name}(), got no such file; check the path"
        )
    loader = _Loader(f"tally_user_{file.stem}", str(file))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # for imports of the user's files beside it
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with usercode.expected(path, "a file that imports", f"try `python {path}`"):
        loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        raise SpecError(f"{path}: expected a function {name}(), got none; define it")
    return (found, *(getattr(module, constant, None) for constant in constants))
