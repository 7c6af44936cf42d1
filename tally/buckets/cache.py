"""The local cache of what lies in buckets: one folder an entry, bounded, never one in use."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tally.errors import SpecError
from tally.storage import home

DEFAULT_BYTES = 20_000_000_000

_held: dict[Path, int] = {}  # until this process ends, however it ends


def limit_bytes() -> int:
    """$TALLY_CACHE_BYTES, else 20 GB.

    Raises:
        SpecError: it is no whole number of bytes.
    """
    given = os.environ.get("TALLY_CACHE_BYTES") or str(DEFAULT_BYTES)
    if not given.isdecimal():
        raise SpecError(
            f"TALLY_CACHE_BYTES: expected a whole number of bytes, got {given}; set it to one, "
            f"such as {DEFAULT_BYTES}"
        )
    return int(given)


def folders() -> list[Path]:
    """Where entries are: below $TALLY_HOME/cache, one folder a kind."""
    return [home() / "cache" / kind for kind in ("gs", "s3", "datasets", "tmp")]


def hold(folder: Path) -> bool:
    """Keep an entry from being removed while this process lives, and note that it is used now.

    Returns:
        Whether it is there.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # Who removes an entry does so under the lock: what we waited for may be gone.
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                os.utime(folder)
                if (before := _held.pop(folder, None)) is not None:
                    os.close(before)
                _held[folder], descriptor = descriptor, -1
                return True
        finally:
            if descriptor >= 0:
                os.close(descriptor)
    return False


def let_go(folder: Path) -> None:
    """End `hold`."""
    if (descriptor := _held.pop(folder, None)) is not None:
        os.close(descriptor)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder below the cache for the length of the block; a later `bound` clears a dead one's."""
    parent = home() / "cache" / "tmp"
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=parent))
        if hold(folder):  # else it was cleared between the two calls
            break
    try:
        yield folder
    finally:
        let_go(folder)
        shutil.rmtree(folder, ignore_errors=True)


def bound(kinds: Iterable[Path], incoming_bytes: int) -> list[Path]:
    """Remove the least recently used entries until what comes fits under the limit.

    Also removes what a dead process left half-made. An entry that any process holds stays, also
    where the limit is exceeded.

    Args:
        kinds: the folders whose entries count together; need not exist.
        incoming_bytes: about to be added.

    Returns:
        What was removed.
    """
    entries = [entry for kind in kinds for entry in _entries(kind)]
    sizes = {entry: _bytes_of(entry) for entry in entries}
    used = {entry: _used_at(entry) for entry in entries}
    excess = sum(sizes.values()) + incoming_bytes - limit_bytes()
    removed = []
    half_made = [entry for entry in entries if entry.name.startswith(".")]
    whole = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: used[e])
    for entry in half_made + whole:
        if (entry in half_made or excess > 0) and _remove(entry):
            excess -= sizes[entry]
            removed.append(entry)
    return removed


def _entries(kind: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [entry for entry in kind.iterdir() if entry.is_dir() and not entry.is_symlink()]
    return []


def _used_at(entry: Path) -> float:
    with contextlib.suppress(OSError):
        return entry.stat().st_mtime
    return 0.0


def _bytes_of(entry: Path) -> int:
    total = 0
    for folder, _, files in os.walk(entry):
        for file in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, file)).st_size  # noqa: PTH118 - many
    return total


def _remove(entry: Path) -> bool:
    """Remove an entry unless it is in use, or its file system knows no locks."""
    with contextlib.suppress(OSError):
        descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry)
            return True
        finally:
            os.close(descriptor)
    return False
