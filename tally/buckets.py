"""Sources in buckets (gs://), brought to a local cache by generation."""

import base64
import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from tally.errors import DataError
from tally.storage import disk, exclusive, home

_REQUEST_SECONDS = (4.0, 8.0)  # to connect, and between bytes
_RETRY_SECONDS = 8.0
_DOWNLOADS = 8  # objects of a prefix at a time


def bucket_and_object(url: str) -> tuple[str, str]:
    """`gs://bucket/some/object` → `("bucket", "some/object")`.

    Raises:
        DataError: it has another form, or its parts could leave the cache folder.
    """
    bucket, _, name = url.removeprefix("gs://").partition("/")
    name = name.rstrip("/")
    if not url.startswith("gs://") or not bucket or not name or not _is_safe(name):
        raise DataError(f"{url}: expected gs://bucket/object or gs://bucket/prefix; correct it")
    return bucket, name


def _is_safe(name: str) -> bool:
    return "\0" not in name and all(
        part not in ("", ".", "..") and len(part.encode()) < 256 for part in name.split("/")
    )


def fetch(url: str) -> tuple[Path, dict[str, Any]]:
    """A gs:// object, or all objects below a prefix, as a local file or folder.

    Kept in $TALLY_HOME/cache by bucket, names and generations: the same generation is downloaded
    once, an overwritten object anew. Signs in with application-default credentials;
    STORAGE_EMULATOR_HOST leads to an emulator, without credentials.

    Args:
        url: gs://bucket/object or gs://bucket/prefix.

    Returns:
        The path, and facts: {"kind", "url", "bucket", "objects": [{"name" (below the prefix, ""
        if url is an object), "generation", "bytes", "crc32c"}]}.

    Raises:
        DataError: malformed, missing, forbidden, unreachable (within about 15 s), damaged.
        RunError: the disk is full.
    """
    bucket, name = bucket_and_object(url)
    with _told_in_one_line(url, bucket):
        from google.cloud import storage as gcs

        emulated = bool(os.environ.get("STORAGE_EMULATOR_HOST"))
        client = gcs.Client.create_anonymous_client() if emulated else gcs.Client()
        objects = _objects(client, url, bucket, name)
    identity = [bucket, *(f"{o['name']}#{o['generation']}" for o in objects)]
    key = hashlib.sha256("\n".join([name, *identity]).encode()).hexdigest()[:16]
    folder = home() / "cache" / "gs" / key
    local = folder / PurePosixPath(name).name
    facts = {"kind": "gs", "url": url, "bucket": bucket, "objects": objects}
    with disk(folder), exclusive(folder.with_name(f".{key}.lock")):
        if folder.is_dir():
            return local, facts
        temporary = folder.with_name(f".{key}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)  # its writer is dead: we hold the lock
        try:
            with _told_in_one_line(url, bucket), ThreadPoolExecutor(_DOWNLOADS) as pool:
                copies = [
                    pool.submit(_download, client, bucket, name, entry, temporary / local.name)
                    for entry in objects
                ]
                try:
                    for copy in copies:
                        copy.result()
                finally:
                    pool.shutdown(cancel_futures=True)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return local, facts


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(_RETRY_SECONDS)


def _objects(client: Any, url: str, bucket: str, name: str) -> list[dict[str, Any]]:
    """What the address names: one object, or all below it."""
    limits = {"timeout": _REQUEST_SECONDS, "retry": _retry()}
    blob = client.bucket(bucket).get_blob(name, **limits)
    below = [] if blob else client.list_blobs(bucket, prefix=f"{name}/", **limits)
    blobs = [blob] if blob else [b for b in below if not b.name.endswith("/")]
    if not blobs:
        raise DataError(f"{url}: expected an object or prefix, got nothing there; check the name")
    found = [
        {
            "name": b.name[len(name) + 1 :],
            "generation": str(b.generation),
            "bytes": int(b.size),
            "crc32c": b.crc32c,
        }
        for b in blobs
    ]
    for entry in found:
        if entry["name"] and not _is_safe(entry["name"]):
            raise DataError(
                f"{url}: expected object names that can be file names, got {entry['name']!r}; "
                "rename that object"
            )
    return found


def _download(client: Any, bucket: str, name: str, entry: dict[str, Any], root: Path) -> None:
    """One object to its place below root, streamed, its checksum checked."""
    import google_crc32c

    crc32c: Any = google_crc32c
    path = root / entry["name"] if entry["name"] else root
    object_name = f"{name}/{entry['name']}" if entry["name"] else name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise DataError(
            f"gs://{bucket}/{object_name}: expected names that can be files in folders, got an "
            "object that is also a prefix; rename one"
        ) from error
    blob = client.bucket(bucket).blob(object_name, generation=int(entry["generation"]))
    with open(path, "wb") as file:
        blob.download_to_file(file, timeout=_REQUEST_SECONDS, retry=_retry())
    checksum = crc32c.Checksum()
    with open(path, "rb") as file:
        for _ in checksum.consume(file, 1 << 20):
            pass
    if (found := base64.b64encode(checksum.digest()).decode()) != entry["crc32c"]:
        raise DataError(
            f"gs://{bucket}/{object_name}: expected CRC32C {entry['crc32c']}, got {found}; "
            "run again, or upload the object again"
        )


@contextlib.contextmanager
def _told_in_one_line(url: str, bucket: str) -> Iterator[None]:
    """Turn what google-cloud-storage raises inside the block into one DataError."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from google.cloud.storage import exceptions as media

    try:
        yield
    except api.NotFound as error:
        raise DataError(
            f"{url}: expected something to read, got no such bucket or object; check the name"
        ) from error
    except (api.Forbidden, api.Unauthorized) as error:
        raise DataError(
            f"{url}: expected permission to read, got '{error.message}'; grant your account "
            f"Storage Object Viewer on gs://{bucket}"
        ) from error
    except auth.GoogleAuthError as error:
        raise DataError(
            f"{url}: expected Google credentials, got {type(error).__name__}; run `gcloud auth "
            "application-default login` or set GOOGLE_APPLICATION_CREDENTIALS"
        ) from error
    except media.DataCorruption as error:
        raise DataError(f"{url}: expected whole data, got a damaged copy; run again") from error
    except (api.GoogleAPIError, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # of our disk, not of the network
            raise
        host = os.environ.get("STORAGE_EMULATOR_HOST") or "storage.googleapis.com"
        raise DataError(
            f"{url}: expected an answer from {host}, got {type(error).__name__}; check the network "
            "and the address, then run again"
        ) from error
