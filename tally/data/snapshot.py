"""A source as it was at a moment: what was written later is left out."""

import hashlib
from pathlib import Path

from tally import storage
from tally.data.reading import files_below, reading
from tally.errors import DataError
from tally.storage import disk, exclusive


def view(path: Path, until_microseconds: int) -> Path:
    """A folder of links to the files below `path` that were not written after a moment.

    Files that were overwritten later are left out too: what they were then is gone.

    Args:
        path: a file or folder.
        until_microseconds: UTC.

    Raises:
        DataError: nothing is as old as that.
    """
    with reading(path, "a source that this user can read", "check its permissions"):
        files = files_below(path) if path.is_dir() else [path]
        kept = [file for file in files if file.stat().st_mtime_ns <= until_microseconds * 1000]
    if not kept:
        raise DataError(
            f"{path}: expected files written before the snapshot, got {len(files)} written after "
            "it; choose a later snapshot"
        )
    if len(kept) == len(files):
        return path
    names = "\n".join(file.relative_to(path).as_posix() for file in kept)
    key = hashlib.sha256(f"{path}\n{names}".encode()).hexdigest()[:16]
    folder = storage.home() / "cache" / "snapshots" / key / path.name
    with disk(folder), exclusive(folder.parent.with_name(f".{key}.lock")):
        for file in kept:
            link = folder / file.relative_to(path)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(file)
    return folder
