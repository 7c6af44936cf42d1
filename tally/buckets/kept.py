"""What Tally itself keeps in a bucket: objects written whole, within a bounded time."""

import contextlib
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from tally.buckets.entry import Entry
from tally.buckets.objects import download, reach, told
from tally.buckets.patience import (
    BucketError,
    Changed,
    Missing,
    Unreachable,
    patiently,
    within,
)
from tally.errors import RunError
from tally.storage import CloudPath

STORE_SECONDS = 30.0  # for a store to take what it is given; all tries together
_PRUNE_SECONDS = 5.0
_READS = 3


def put(
    place: CloudPath,
    files: Mapping[str, IO[bytes]],
    seconds: float = STORE_SECONDS,
    retry_seconds: float | None = None,
) -> None:
    """Write files as objects below a place, in their order, each whole or not at all.

    What the service then says of an object (size, checksum) is compared with what was sent.

    Args:
        place: what their names are below of.
        files: by name; seekable.
        seconds: for all of them; it is over then, also where the store trickles or hangs.
        retry_seconds: how long to try one file again while the store fails; as long as all if None.

    Raises:
        RunError: the store does not take them.
    """

    patience = seconds if retry_seconds is None else retry_seconds

    def work() -> None:
        objects = reach(place)
        for name, file in files.items():
            file.seek(0)
            sha256 = hashlib.sha256()
            while piece := file.read(1 << 20):
                sha256.update(piece)
            key, digest = (place / name).key, sha256.hexdigest()
            patiently(lambda: objects.upload(key, file, digest), patience)  # noqa: B023 - now

    with told(place, RunError):
        within(seconds, work)


def read(place: CloudPath, seconds: float = STORE_SECONDS) -> tuple[bytes, str] | None:
    """A small object and its version, for `swap`; None where there is none.

    Raises:
        RunError: the store does not answer, or does not let us.
    """

    def work() -> tuple[bytes, str] | None:
        objects = reach(place)
        if not (entry := objects.find(place.key)):
            return None
        file = io.BytesIO()
        objects.append(entry, file)
        return file.getvalue(), entry.version

    def attempt() -> tuple[bytes, str] | None:
        for _ in range(_READS):  # one that is replaced between the two requests is Missing
            with contextlib.suppress(Missing):
                return work()
        return work()

    with told(place, RunError):
        return patiently(attempt, seconds)


def swap(place: CloudPath, content: bytes, version: str, seconds: float = STORE_SECONDS) -> bool:
    """Write a small object if nobody has since it had that version; "" where there was none.

    Returns:
        Whether it has that content now. An answer that was lost is looked up.

    Raises:
        RunError: the store does not take it.
    """

    def work() -> bool:
        try:
            patiently(lambda: reach(place).swap(place.key, content, version), seconds)
        except Changed:
            found = read(place, seconds)
            return found is not None and found[0] == content
        return True

    with told(place, RunError):
        return within(seconds, work)


def fetch(place: CloudPath, path: Path, seconds: float = STORE_SECONDS) -> bool:
    """Bring an object to `path`, checked; False where there is none.

    Raises:
        RunError: the store does not answer, does not let us, or keeps it damaged.
    """
    with told(place, RunError):
        objects = reach(place)
        if not (entry := patiently(lambda: objects.find(place.key), seconds)):
            return False
        download(objects, entry, path, seconds)
        return True


def listed(place: CloudPath, seconds: float = STORE_SECONDS) -> list[Entry]:
    """All objects below a place, by name; none is no error, a missing bucket is one.

    Raises:
        RunError: the store does not answer, or does not let us.
    """
    with told(place, RunError):
        objects = reach(place)
        found = patiently(lambda: objects.below(f"{place.key}/".lstrip("/")), seconds)
    return sorted(found, key=lambda entry: entry.name)


def drop(place: CloudPath, names: list[str]) -> bool:
    """Delete objects below a place, if that can be done now; they only take room.

    Returns:
        Whether all are gone.
    """

    def work() -> None:
        objects = reach(place)
        for name in names:
            objects.remove((place / name).key)

    try:
        within(_PRUNE_SECONDS, work)
    except Unreachable:
        return False
    except BucketError:  # may write, may not delete: said by whoever set the rights up so
        return False
    return True
