"""What code of the user's did instead of what was asked of it: a line, and Python's own story."""

import traceback
from pathlib import Path

from tally.errors import UserCodeError
from tally.oneline import one_line

FAILURES = (Exception, SystemExit)  # what running it can raise: it may end the process
MOST = 300  # characters of its own words


def failed(path: str, expected: str, error: BaseException, remedy: str) -> UserCodeError:
    """The error to raise from that of the user's code.

    Args:
        path: of their file, as they gave it.
        expected: of it.
        error: what it raised, one of FAILURES.
        remedy: where the error itself names none.
    """
    got, remedy = _words(error, remedy)
    return UserCodeError(f"{path}: expected {expected}, got {got}; {remedy}", _story(path, error))


def _words(error: BaseException, remedy: str) -> tuple[str, str]:
    match error:
        case SystemExit(code=code):
            return f"an end of the program (SystemExit: {code})", "leave out what ends it"
        case ModuleNotFoundError(name=str(name)):
            package = name.partition(".")[0]
            return f"no module named {name}", f"`pip install {package}` into .venv, or correct it"
        case SyntaxError(msg=msg, lineno=line):
            return f"{type(error).__name__} in line {line}: {msg}", "correct it"
    return f"{type(error).__name__}: {one_line(str(error), MOST)}", remedy


def _story(path: str, error: BaseException) -> str:
    """The traceback from the first frame of the user's file on; of a syntax error its line."""
    file, frames = str(Path(path).expanduser().absolute()), error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != file:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()
