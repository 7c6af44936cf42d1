"""What code of the user's did instead of what was asked of it: a line, and Python's own story."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from tally.errors import TallyError, UserCodeError
from tally.oneline import one_line

MOST = 300  # characters of its own words


@contextlib.contextmanager
def expected(path: str, what: str, remedy: str) -> Iterator[None]:
    """Run code of the user's inside this block, which may end the process, too.

    Args:
        path: of their file, as they gave it.
        what: is expected of it.
        remedy: where the error itself names none.

    Raises:
        UserCodeError: it failed.
    """
    try:
        yield
    except TallyError:
        raise
    except (Exception, SystemExit) as error:
        raise failed(path, what, error, remedy) from error


def failed(path: str, expected: str, error: BaseException, remedy: str) -> UserCodeError:
    """The error to raise from that of the user's code.

    Args:
        path: of their file, as they gave it.
        expected: of it.
        error: what it raised.
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
