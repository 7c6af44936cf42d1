"""What a source's files contain, remembered: a big one is hashed once, not at every run."""

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tally import storage
from tally.data.reading import reading
from tally.data.shards import sha256

_TABLE = """CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, bytes INTEGER,
    modified_nanoseconds INTEGER, changed_nanoseconds INTEGER, sha256 TEXT)"""
_SETTLED_NANOSECONDS = 2_000_000_000


_Row = tuple[str, int, int, int, str]


def hashes(files: Sequence[Path]) -> list[tuple[int, str]]:
    """Size in bytes and SHA-256 of each file.

    Hashes are kept in $TALLY_HOME/cache/ by path, size and times. A file that changed less than
    two seconds ago is not kept: it could change again within the resolution of its times.

    Raises:
        DataError: a file cannot be read.
        RunError: the disk is full.
    """
    place = storage.home() / "cache" / "hashes.db"
    with storage.disk(place):
        place.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(place, timeout=10, isolation_level=None)) as kept:
        found = [_hash(kept, file.absolute()) for file in files]
        settled = time.time_ns() - _SETTLED_NANOSECONDS
        # One short transaction at the end: another run never waits while files are hashed here.
        with contextlib.suppress(sqlite3.Error):  # what is not kept is hashed again, no more
            kept.execute("BEGIN IMMEDIATE")
            kept.execute(_TABLE)
            kept.executemany(
                "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)",
                [row for row, new in found if new and max(row[2:4]) < settled],
            )
            kept.execute("COMMIT")
    return [(row[1], row[4]) for row, _ in found]


def _hash(kept: sqlite3.Connection, file: Path) -> tuple[_Row, bool]:
    """A file's row, and whether it is new."""
    with reading(file, "a file that this user can read", "check its permissions"):
        facts = file.stat()
        key = (str(file), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        with contextlib.suppress(sqlite3.Error):  # no table yet, or no database at all
            row = kept.execute(
                "SELECT sha256 FROM hashes WHERE path = ? AND bytes = ?"
                " AND modified_nanoseconds = ? AND changed_nanoseconds = ?",
                key,
            ).fetchone()
            if row:
                return (*key, str(row[0])), False
        return (*key, sha256(file)), True
