"""A dataset folder brought to where a worker runs: as it is, from the store, or streamed."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tally import storage
from tally.buckets import cache as node_cache
from tally.data import copies
from tally.data.copies import Get, Progress
from tally.data.format import DESCRIPTION
from tally.errors import DataError

COORDINATOR = "coordinator:"

Fetch = Callable[[str], Iterator[bytes]]

_FINGERPRINT = re.compile(r"[0-9a-f]{8,128}")


def local_dataset(
    where: str,
    fingerprint: str,
    cache: Path,
    fetch: Fetch | None,
    progress: Progress | None = None,
) -> Path:
    """A local folder with the dataset, whole and verified.

    Workers of one node share the copy: the first brings it, the others wait for it. Copies that
    were used least recently, and by no living process, go where the cache would exceed
    $TALLY_CACHE_BYTES.

    Args:
        where: a local folder, an address in the store, or "coordinator:".
        fingerprint: of the dataset, which names the copy.
        cache: where copies are kept.
        fetch: streams a file of the conductor's dataset folder.
        progress: called with bytes done and bytes in all.

    Raises:
        DataError: no such folder, or a copy that came damaged twice.
        RunError: the disk is full, the store or the conductor does not answer.
    """
    if where == COORDINATOR:
        if fetch is None:
            raise DataError(
                f"{where}: expected a stream from the conductor, got none; give the worker a "
                "coordinator, or set TALLY_STORE"
            )
        return _cached(cache, fingerprint, _from_stream(fetch), 1, progress)
    place = storage.location(where)
    if not isinstance(place, Path):
        return _cached(cache, fingerprint, copies.from_bucket(place), copies.PARALLEL, progress)
    if not (place / DESCRIPTION).is_file():
        raise DataError(
            f"{where}: expected the dataset folder that prepare made, got none there; "
            "mount it into the worker, or leave TALLY_STORE out to have it streamed"
        )
    return place


def _cached(
    cache: Path, fingerprint: str, get: Get, parallel: int, progress: Progress | None
) -> Path:
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise DataError(
            f"{fingerprint!r}: expected a dataset's fingerprint, got something else; run prepare "
            "again"
        )
    folder = cache.absolute() / fingerprint
    with storage.disk(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)

    def roomy(name: str, path: Path, most_bytes: int) -> None:
        get(name, path, most_bytes)
        if name == DESCRIPTION:
            node_cache.bound([folder.parent], copies.listed_bytes(path, fingerprint))

    copies.bring(folder, fingerprint, roomy, parallel, progress)
    return folder


def _from_stream(fetch: Fetch) -> Get:
    def get(name: str, path: Path, most_bytes: int) -> None:
        written = 0
        with open(path, "wb") as file:
            for piece in fetch(name):
                written += len(piece)
                if written > most_bytes:
                    raise DataError(
                        f"{name}: expected {most_bytes} bytes from the conductor, got more; "
                        "run prepare again"
                    )
                file.write(piece)

    return get
