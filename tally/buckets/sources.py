"""Sources in buckets (gs://, s3://), brought to a local cache by version."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import tally.buckets.cache as cache  # the package itself imports this module
from tally.buckets.entry import Entry
from tally.buckets.objects import RETRY_SECONDS, Objects, download, reach, told
from tally.buckets.patience import BucketError, patiently
from tally.errors import DataError, SpecError
from tally.storage import CloudPath, disk, exclusive, home, location, refuse_credentials

_DOWNLOADS = 8  # objects of a prefix at a time
_SCHEMES = ("gs://", "s3://")


def is_address(name: str) -> bool:
    """Whether a source's name is an address in a bucket."""
    return name.startswith(_SCHEMES)


def bucket_and_object(url: str) -> tuple[str, str]:
    """`gs://bucket/some/object` or `s3://…` → `("bucket", "some/object")`.

    Raises:
        DataError: it has another form, or its parts could leave the cache folder.
        SpecError: credentials in the address.
    """
    place = _place(url)
    return place.bucket, place.key


def _place(url: str) -> CloudPath:
    scheme = url.partition("://")[0]
    refuse_credentials(url)
    try:
        place = location(url)
    except SpecError:
        place = None
    if not isinstance(place, CloudPath) or not place.key or not _is_safe(place.key):
        raise DataError(
            f"{url}: expected {scheme}://bucket/object or {scheme}://bucket/prefix; correct it"
        )
    return place


def _is_safe(name: str) -> bool:
    return "\0" not in name and all(
        part not in ("", ".", "..") and len(part.encode()) < 256 for part in name.split("/")
    )


def fetch(url: str, until_microseconds: int | None = None) -> tuple[Path, dict[str, Any]]:
    """An object in a bucket, or all objects below a prefix, as a local file or folder.

    Kept in $TALLY_HOME/cache by bucket, names and versions: the same version is downloaded once,
    an overwritten object anew. Entries used least recently go where the cache would exceed
    $TALLY_CACHE_BYTES. gs:// signs in with application-default credentials, or goes to
    STORAGE_EMULATOR_HOST without any; s3:// finds credentials as the AWS tools do, and its server
    by AWS_ENDPOINT_URL.

    Args:
        url: gs://bucket/object, gs://bucket/prefix, or the same with s3://.
        until_microseconds: leave out objects whose version was written after it (UTC).

    Returns:
        The path, and facts: {"kind": "gs" or "s3", "url", "bucket", "objects": [{"name" (below the
        prefix, "" if url is an object), "version", "bytes", "checksum"}]}.

    Raises:
        DataError: malformed, missing, forbidden, unreachable (within about 15 s), damaged.
        RunError: the disk is full.
    """
    place = _place(url)
    with told(url, DataError):
        objects = reach(place)
        entries = _until(place, _entries(objects, place), until_microseconds)
    versions = [f"{_below(place, entry)}#{entry.version}" for entry in entries]
    key = hashlib.sha256("\n".join([place.key, place.bucket, *versions]).encode()).hexdigest()[:16]
    folder = home() / "cache" / place.scheme / key
    local = folder / PurePosixPath(place.key).name
    facts = {"kind": place.scheme, "url": url, "bucket": place.bucket}
    parts = [
        {"name": _below(place, e), "version": e.version, "bytes": e.bytes, "checksum": e.checksum}
        for e in entries
    ]
    with disk(folder), exclusive(folder.with_name(f".{key}.lock")):
        if not cache.hold(folder):
            _fill(folder, url, place, objects, entries)
    return local, {**facts, "objects": parts}


def _entries(objects: Objects, place: CloudPath) -> list[Entry]:
    """What the address names: one object, or all below it."""
    one = patiently(lambda: objects.find(place.key), RETRY_SECONDS)
    found = [one] if one else []
    if not one:
        below = patiently(lambda: objects.below(f"{place.key}/"), RETRY_SECONDS)
        found = [entry for entry in below if not entry.name.endswith("/")]
    if not found:
        raise DataError(f"{place}: expected an object or prefix, got nothing there; check the name")
    for entry in found:
        name = _below(place, entry)
        if name and not _is_safe(name):
            raise DataError(
                f"{place}: expected object names that can be file names, got {name!r}; "
                "rename that object"
            )
    return found


def _until(place: CloudPath, entries: list[Entry], until: int | None) -> list[Entry]:
    """Those that were written by then."""
    if until is None:
        return entries
    found = [entry for entry in entries if entry.written_microseconds <= until]
    if not found:
        raise DataError(
            f"{place}: expected objects written before the snapshot, got {len(entries)} written "
            "after it; choose a later snapshot"
        )
    return found


def _below(place: CloudPath, entry: Entry) -> str:
    return entry.name[len(place.key) + 1 :]


def _fill(folder: Path, url: str, place: CloudPath, objects: Objects, entries: list[Entry]) -> None:
    """Download all entries into the cache folder, whole or not at all; its lock is held."""
    cache.bound(cache.folders(), sum(entry.bytes for entry in entries))
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # its writer is dead: we hold the lock
    temporary.mkdir(parents=True)
    if not cache.hold(temporary):
        temporary.mkdir()
    root = temporary / PurePosixPath(place.key).name
    try:
        with told(url, DataError), ThreadPoolExecutor(_DOWNLOADS) as pool:
            copies = [pool.submit(_copy, objects, place, entry, root) for entry in entries]
            try:
                for copy in copies:
                    copy.result()
            finally:
                pool.shutdown(cancel_futures=True)
        temporary.rename(folder)
        cache.hold(folder)
    finally:
        cache.let_go(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def _copy(objects: Objects, place: CloudPath, entry: Entry, root: Path) -> None:
    """One object to its place below root."""
    path = root / _below(place, entry)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        download(objects, entry, path)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(
            f"{place.scheme}://{place.bucket}/{entry.name}: expected names that can be files in "
            "folders, got an object that is also a prefix; rename one"
        ) from error
    except BucketError as error:
        raise DataError(f"{place.scheme}://{place.bucket}/{entry.name}: {error}") from error
