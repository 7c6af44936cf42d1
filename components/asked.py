"""A component whose parameters are the Spec's: names and types stand there only."""

import ast
import inspect
import linecache
from collections.abc import Callable
from typing import Any

from tally.spec import Spec


def asked_by_name(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with each parameter of the Spec, of its type, in place of its `**` argument.

    KFP reads a component's inputs off its signature and puts its source into the pod, where the
    executor reads the signature anew: so the source is written with them, and kept where
    inspect.getsource looks for it.

    Args:
        function: of a module of its own, with a docstring.
    """
    (written,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(written, ast.FunctionDef) and written.args.kwarg is not None
    values = Spec().model_dump()
    gathered = ", ".join(f"{name}={name}" for name in values)
    written.body[1:1] = ast.parse(f"{written.args.kwarg.arg} = dict({gathered})").body
    written.args.args += [
        ast.arg(name, ast.Name(type(value).__name__)) for name, value in values.items()
    ]
    written.args.kwarg, written.decorator_list = None, []
    source = ast.unparse(written) + "\n"
    file, made = f"<{function.__name__} with the Spec's parameters>", dict(function.__globals__)
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    exec(compile(source, file, "exec"), made)  # noqa: S102  our own text
    return made[function.__name__]
