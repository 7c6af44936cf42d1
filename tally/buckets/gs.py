"""Objects in Google Cloud Storage, or in the emulator that STORAGE_EMULATOR_HOST names."""

import base64
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tally.buckets.entry import Entry
from tally.buckets.patience import (
    REQUEST_SECONDS,
    Changed,
    Damaged,
    Missing,
    Refused,
    Unreachable,
)

_BUSY = (408, 429)
_ANEW = "run again, or upload the object again"


class GsObjects:
    """The objects of one bucket; see `Objects`."""

    def __init__(self, bucket: str) -> None:
        """Signs in with application-default credentials; to an emulator without any."""
        self._name = bucket
        with self._translated("read"):
            from google.cloud import storage as gcs

            emulated = bool(os.environ.get("STORAGE_EMULATOR_HOST"))
            # Objects need no project: mounted user credentials often have none.
            self._client = (
                gcs.Client.create_anonymous_client() if emulated else gcs.Client(project=None)
            )
        self._bucket: Any = self._client.bucket(bucket)

    def find(self, name: str) -> Entry | None:
        """See `Objects`."""
        with self._translated("read"):
            blob = self._bucket.get_blob(name, **_ONCE)
        return _entry(blob) if blob else None

    def below(self, prefix: str) -> list[Entry]:
        """See `Objects`."""
        with self._translated("read"):
            return [_entry(b) for b in self._client.list_blobs(self._name, prefix=prefix, **_ONCE)]

    def append(self, entry: Entry, file: IO[bytes]) -> None:
        """See `Objects`."""
        start = file.tell()
        if start >= entry.bytes:
            return
        blob = self._bucket.blob(entry.name, generation=int(entry.version))
        with self._translated("read"):
            # Raw: the checksum is of what is kept, also where that is compressed.
            blob.download_to_file(file, start=start, raw_download=True, checksum=None, **_ONCE)

    def check(self, entry: Entry, path: Path) -> None:
        """See `Objects`."""
        with open(path, "rb") as file:
            found = _crc32c(file)
        if found != entry.checksum:
            raise Damaged(f"CRC32C {entry.checksum} of {entry.name}", found, _ANEW)

    def upload(self, name: str, file: IO[bytes], sha256: str) -> None:
        """See `Objects`."""
        file.seek(0)
        expected = _crc32c(file)
        size = file.tell()
        blob = self._bucket.blob(name)
        blob.metadata = {"sha256": sha256}
        with self._translated("write"):
            blob.upload_from_file(file, rewind=True, size=size, checksum="crc32c", **_ONCE)
        if (int(blob.size), blob.crc32c) != (size, expected):
            raise Unreachable(
                f"{size} bytes of CRC32C {expected} to be kept",
                f"{blob.size} of {blob.crc32c}",
                "check the network",
            )

    def swap(self, name: str, content: bytes, version: str) -> None:
        """See `Objects`."""
        blob = self._bucket.blob(name)
        with self._translated("write"):
            blob.upload_from_string(content, if_generation_match=int(version or 0), **_ONCE)

    def remove(self, name: str) -> None:
        """See `Objects`."""
        with contextlib.suppress(Missing), self._translated("write"):
            self._bucket.blob(name).delete(**_ONCE)

    @contextlib.contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        """Turn what google-cloud-storage raises into a BucketError."""
        import urllib3
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
        from google.cloud.storage import exceptions as media

        try:
            yield
        except api.NotFound as error:
            raise Missing(
                f"something to {verb}", "no such bucket or object", "check the name"
            ) from error
        except api.PreconditionFailed as error:
            raise Changed("the object as it was read", "a changed one", "try again") from error
        except (api.Forbidden, api.Unauthorized) as error:
            role = "Storage Object Viewer" if verb == "read" else "Storage Object User"
            raise Refused(
                f"permission to {verb}", f"'{error.message}'",
                f"grant your account {role} on gs://{self._name}",
            ) from error  # fmt: skip
        except auth.TransportError as error:
            raise _unreachable(error) from error
        except auth.GoogleAuthError as error:
            raise Refused(
                "Google credentials", type(error).__name__,
                "run `gcloud auth application-default login` or set "
                "GOOGLE_APPLICATION_CREDENTIALS",
            ) from error  # fmt: skip
        except media.DataCorruption as error:
            raise Unreachable("whole data", "a damaged copy", "run again") from error
        except api.GoogleAPICallError as error:
            if error.code is None or error.code >= 500 or error.code in _BUSY:
                raise _unreachable(error) from error
            raise Refused(f"to {verb} there", f"'{error.message}'", "check the address") from error
        except (api.GoogleAPIError, urllib3.exceptions.HTTPError, OSError) as error:
            of_network = isinstance(error, ConnectionError | TimeoutError)
            if isinstance(error, OSError) and error.errno and not of_network:  # of our own disk
                raise
            raise _unreachable(error) from error


_ONCE: dict[str, Any] = {"timeout": REQUEST_SECONDS, "retry": None}


def _unreachable(error: Exception) -> Unreachable:
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    host = urlsplit(emulator).netloc.rpartition("@")[2] if emulator else "storage.googleapis.com"
    return Unreachable(
        f"an answer from {host}", type(error).__name__,
        "check the network and the address, then run again",
    )  # fmt: skip


def _entry(blob: Any) -> Entry:
    written = (blob.metadata or {}).get("sha256", "")
    at = round(blob.updated.timestamp() * 1e6) if blob.updated else 0
    return Entry(blob.name, str(blob.generation), int(blob.size), blob.crc32c, written, at)


def _crc32c(file: IO[bytes]) -> str:
    """Of the rest of the file, in base64 as GCS says it."""
    import google_crc32c

    crc32c: Any = google_crc32c
    checksum = crc32c.Checksum()
    for _ in checksum.consume(file, 1 << 20):
        pass
    return base64.b64encode(checksum.digest()).decode()
