"""Where things are kept: $TALLY_HOME, atomic writes, locks."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tally.errors import RunError, SpecError


def home() -> Path:
    """$TALLY_HOME, else ~/.tally, made if missing and known to be writable.

    Raises:
        SpecError: it cannot be made or written.
    """
    path = Path(os.environ.get("TALLY_HOME") or Path.home() / ".tally").absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        if error.errno in _FULL:
            raise full_disk(path, error) from error
        raise SpecError(
            f"TALLY_HOME: expected a folder that this user can write, got {path} "
            f"({error.strerror}); set TALLY_HOME to a folder of yours"
        ) from error
    return path


def run_folder(run_id: str) -> Path:
    """The folder of a run: events.jsonl, logs/, kfp/ (its artifacts), evaluation.json."""
    return home() / "runs" / run_id


def store() -> Path:
    """What outlives a run's processes: datasets/, runs/{run}/checkpoints/, registry/."""
    given = os.environ.get("TALLY_STORE")
    return Path(given).absolute() if given else home()


def checkpoint_folder(run_id: str) -> Path:
    """Where a run's checkpoints are."""
    return store() / "runs" / run_id / "checkpoints"


_FULL = (28, 122, 27)  # ENOSPC, EDQUOT, EFBIG


def full_disk(path: Path, error: OSError) -> RunError:
    """The one line for a disk that is full."""
    return RunError(
        f"{path}: expected room to write, got '{error.strerror}'; "
        "free space there, or set TALLY_HOME to a larger disk, then `make resume`"
    )


@contextlib.contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turn a full disk inside the block into its one-line RunError; path says where."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise full_disk(path, error) from error
        raise


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` whole (synced) or not at all.

    Raises:
        RunError: the disk is full; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` alone; others wait, and a holder that dies lets go.

    The file is gone afterwards. Its folder is made if missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # The holder before us removes the file: then ours is a lock on nothing, try again.
            try:
                ours = os.path.samestat(os.fstat(descriptor), path.stat())
            except FileNotFoundError:
                ours = False
            if not ours:
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)
