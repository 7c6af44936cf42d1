"""Where things are kept: $TALLY_HOME, $TALLY_STORE, atomic writes, locks."""

import contextlib
import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from tally.errors import RunError, SpecError


def home_path(environment: Mapping[str, str] = os.environ) -> Path:
    """$TALLY_HOME, else ~/.tally, whether it is there or not.

    Raises:
        RuntimeError: there is neither, as this user has no home.
    """
    return Path(environment.get("TALLY_HOME") or Path.home() / ".tally").absolute()


def home() -> Path:
    """$TALLY_HOME, else ~/.tally, made if missing and known to be writable.

    Raises:
        SpecError: it cannot be made or written.
    """
    path = home_path()
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


@dataclass(frozen=True)
class CloudPath:
    """A place in a bucket, as a value: naming one loads no client and reaches no network.

    Attributes:
        scheme: "gs" or "s3".
        bucket: its name.
        key: of an object, or of all below it; "" is the bucket itself. No slash at its ends.
    """

    scheme: str
    bucket: str
    key: str = ""

    def __truediv__(self, part: str) -> "CloudPath":
        return replace(self, key=f"{self.key}/{part.strip('/')}".lstrip("/"))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.key}" if self.key else "")

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]


Location = Path | CloudPath

_SCHEMES = ("gs", "s3")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_ANY_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def location(text: str | os.PathLike[str]) -> Location:
    """A place to keep things: gs://bucket/prefix, s3://bucket/prefix, or a path (made absolute).

    Raises:
        SpecError: another scheme, no bucket, or credentials in the address.
    """
    given = os.fspath(text)
    found = _ANY_SCHEME.match(given)
    if not found:
        return Path(given).expanduser().absolute()
    scheme, rest = found[1], given[found.end() :]
    refuse_credentials(given)
    bucket, _, key = rest.partition("/")
    parts = key.strip("/").split("/") if key.strip("/") else []
    if scheme not in _SCHEMES or not _BUCKET.fullmatch(bucket) or not all(map(_is_plain, parts)):
        raise SpecError(
            f"{given}: expected gs://bucket/prefix, s3://bucket/prefix or a path, got neither; "
            "correct the address"
        )
    return CloudPath(scheme, bucket, "/".join(parts))


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and part.isprintable()


def refuse_credentials(url: str) -> None:
    """Refuse an address that carries a user, a password or a key, without repeating it.

    Raises:
        SpecError: it does; addresses are written to logs, ledgers and Kubernetes objects.
    """
    found = _ANY_SCHEME.match(url)
    if found and set("@:") & set(url[found.end() :].partition("/")[0]):
        raise SpecError(
            f"{found[1]}://…: expected an address without credentials, got a ':' or '@' before its "
            "first slash; take them out, and give them by the environment (AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS) or a mounted file"
        )


def store() -> Location:
    """What outlives a run's processes: datasets/, runs/{run}/checkpoints/, registry/.

    $TALLY_STORE: gs://, s3:// or a folder (a volume); else $TALLY_HOME.

    Raises:
        SpecError: TALLY_STORE is none of these, or has credentials in it.
    """
    given = os.environ.get("TALLY_STORE")
    if not given:
        return home()
    try:
        return location(given)
    except SpecError as error:
        raise SpecError(f"TALLY_STORE: {error}") from error


def checkpoint_folder(run_id: str) -> Location:
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
def atomic_file(path: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` whole or not at all; it and its folder are synced.

    Args:
        path: its folder is made if missing.
        mode: of the file, from the first byte on, less the umask.

    Raises:
        RunError: the disk is full; nothing is left behind.
    """
    # drawn, since on a shared volume a process of another machine has the same number
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb", opener=lambda name, how: os.open(name, how, mode)) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk.

    Raises:
        OSError: the disk says no.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def write_secret(path: Path, secret: bytes) -> None:
    """Write what only this user may read; the file never exists with wider rights, nor in part."""
    with atomic_file(path, mode=0o600) as file:
        file.write(secret)
