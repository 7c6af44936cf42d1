"""A bucket's objects, whichever service keeps them, and what can go wrong with a request."""

import contextlib
import os
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Protocol

from tally.buckets.entry import Entry
from tally.buckets.patience import BucketError, Damaged, patiently
from tally.errors import TallyError
from tally.storage import CloudPath

RETRY_SECONDS = 8.0


class Objects(Protocol):
    """The objects of one bucket. Each call is one attempt; it raises BucketError."""

    def find(self, name: str) -> Entry | None:
        """The object of that name; None where there is none."""

    def below(self, prefix: str) -> list[Entry]:
        """All objects whose names start with `prefix`, however many pages they fill."""

    def append(self, entry: Entry, file: IO[bytes]) -> None:
        """Write the object's bytes from `file`'s position on to it."""

    def check(self, entry: Entry, path: Path) -> None:
        """Raise Damaged where a copy is not what the service says it keeps."""

    def upload(self, name: str, file: IO[bytes], sha256: str) -> None:
        """Write an object, whole or not at all, and compare what the service then says of it.

        Args:
            name: of the object; one of that name is replaced.
            file: seekable; read from its start.
            sha256: of the bytes, kept beside them.
        """

    def swap(self, name: str, content: bytes, version: str) -> None:
        """Write a small object if it still has that version, "" for none; else raise Changed."""

    def remove(self, name: str) -> None:
        """Delete an object; one that is gone is no error."""


def reach(place: CloudPath) -> Objects:
    """The objects of a place's bucket, by the credentials of the environment.

    Raises:
        BucketError: no credentials, or an endpoint that is none.
    """
    environment = frozenset(
        (name, value)
        for name, value in os.environ.items()
        if name.startswith(("AWS_", "GOOGLE_", "STORAGE_", "HOME"))
    )
    return _reached(place.scheme, place.bucket, hash(environment))


@lru_cache(maxsize=8)
def _reached(scheme: str, bucket: str, _environment: int) -> Objects:
    # Signing in costs up to a second: a checkpoint on SIGTERM has no time for it.
    if scheme == "gs":
        from tally.buckets.gs import GsObjects

        return GsObjects(bucket)
    from tally.buckets.s3 import S3Objects

    return S3Objects(bucket)


@contextlib.contextmanager
def told(place: object, error: type[TallyError]) -> Iterator[None]:
    """Turn a BucketError inside the block into one line of the given kind about `place`."""
    try:
        yield
    except BucketError as found:
        raise error(f"{place}: {found}") from found


def download(objects: Objects, entry: Entry, path: Path, seconds: float = RETRY_SECONDS) -> None:
    """Bring one object to `path`, checked.

    A broken connection goes on where it broke; a copy that is damaged is fetched anew once.

    Args:
        objects: of its bucket.
        entry: which version.
        path: where to; what lies there is replaced.
        seconds: how long the service may fail without a byte of progress.

    Raises:
        BucketError: it cannot be had, or is damaged where it is kept.
        OSError: of the local disk.
    """
    for final in (False, True):
        with open(path, "wb") as file:
            patiently(partial(objects.append, entry, file), seconds, file.tell)
        try:
            if (found := path.stat().st_size) != entry.bytes:
                raise Damaged(f"{entry.bytes} bytes of {entry.name}", f"{found}", _ANEW)
            objects.check(entry, path)
            return
        except Damaged:
            if final:
                raise


_ANEW = "run again, or upload the object again"
