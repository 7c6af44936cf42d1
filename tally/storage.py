"""Where things are kept: $TALLY_HOME, atomic writes, and sources that live elsewhere (gs://)."""

import base64
import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tally.errors import DataError, RunError, SpecError


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
