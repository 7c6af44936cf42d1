"""Objects in S3, or in any server that speaks it and that AWS_ENDPOINT_URL names."""

import base64
import contextlib
import datetime
import hashlib
import os
import re
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

_BUSY_CODES = ("RequestTimeout", "SlowDown", "Throttling", "TooManyRequests", "InternalError")
_FORBIDDEN_CODES = ("ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch")
_MD5 = re.compile(r"[0-9a-f]{32}")
_ANEW = "run again, or upload the object again"


class S3Objects:
    """The objects of one bucket; see `Objects`."""

    def __init__(self, bucket: str) -> None:
        """Finds credentials where the AWS tools do: the environment, mounted files, the machine."""
        self._bucket = bucket
        with self._translated("read"):
            from boto3.session import Session
            from botocore.config import Config

            connect_seconds, read_seconds = REQUEST_SECONDS
            self._client: Any = Session().client(
                "s3",
                endpoint_url=_endpoint(),
                config=Config(
                    connect_timeout=connect_seconds,
                    read_timeout=read_seconds,
                    retries={"total_max_attempts": 1},  # patience is ours: one bound for all
                    # A server in a cluster has one name, not one for each bucket.
                    s3={"addressing_style": "path"} if _endpoint() else None,
                    # Newer checksums are unknown to many servers; ours travel as Content-MD5.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    max_pool_connections=16,
                ),
            )

    def find(self, name: str) -> Entry | None:
        """See `Objects`."""
        try:
            with self._translated("read"):
                facts = self._client.head_object(Bucket=self._bucket, Key=name)
        except Missing:
            return None
        metadata = facts.get("Metadata", {})
        return _entry(name, facts["ETag"], facts["ContentLength"], metadata, facts["LastModified"])

    def below(self, prefix: str) -> list[Entry]:
        """See `Objects`."""
        pages = self._client.get_paginator("list_objects_v2")
        with self._translated("read"):
            listed = [
                one
                for page in pages.paginate(Bucket=self._bucket, Prefix=prefix)
                for one in page.get("Contents", ())
            ]
        return [
            _entry(one["Key"], one["ETag"], one["Size"], {}, one["LastModified"]) for one in listed
        ]

    def append(self, entry: Entry, file: IO[bytes]) -> None:
        """See `Objects`."""
        start = file.tell()
        if start >= entry.bytes:
            return
        which = {"IfMatch": f'"{entry.version}"'}
        if start:
            which["Range"] = f"bytes={start}-"
        with self._translated("read"):
            body = self._client.get_object(Bucket=self._bucket, Key=entry.name, **which)["Body"]
            with contextlib.closing(body):
                for chunk in body.iter_chunks(1 << 20):
                    file.write(chunk)

    def check(self, entry: Entry, path: Path) -> None:
        """See `Objects`."""
        if not _MD5.fullmatch(entry.checksum):
            return  # of an upload in parts: a checksum of checksums of unknown parts
        found = _md5(path)
        if found == entry.checksum:
            return
        with self._translated("read"):
            facts = self._client.head_object(Bucket=self._bucket, Key=entry.name)
        if "kms" not in facts.get("ServerSideEncryption", ""):  # then an ETag is not an MD5
            raise Damaged(f"MD5 {entry.checksum} of {entry.name}", found, _ANEW)

    def upload(self, name: str, file: IO[bytes], sha256: str) -> None:
        """See `Objects`."""
        file.seek(0)
        md5 = hashlib.file_digest(file, _new_md5).digest()  # type: ignore[arg-type]
        size = file.seek(0, os.SEEK_END)  # file_digest does not move in what lies in memory
        file.seek(0)
        with self._translated("write"):
            put = self._client.put_object(
                Bucket=self._bucket,
                Key=name,
                Body=file,
                ContentLength=size,
                ContentMD5=base64.b64encode(md5).decode(),
                Metadata={"sha256": sha256},
            )
        kept = self.find(name)
        etag = put["ETag"].strip('"')
        if kept and etag != kept.checksum:
            return  # another writer's already: ours was whole when it was answered
        encrypted = "kms" in put.get("ServerSideEncryption", "")
        if not kept or kept.bytes != size or (not encrypted and etag != md5.hex()):
            raise Unreachable(
                f"{size} bytes of MD5 {md5.hex()} to be kept",
                f"{kept.bytes} of {etag}" if kept else "no object",
                "check the network and the store",
            )

    def swap(self, name: str, content: bytes, version: str) -> None:
        """See `Objects`."""
        which = {"IfMatch": f'"{version}"'} if version else {"IfNoneMatch": "*"}
        try:
            with self._translated("write"):
                self._client.put_object(Bucket=self._bucket, Key=name, Body=content, **which)
        except Missing as error:  # 412, or it is gone: either way not what was read
            raise Changed("the object as it was read", "a changed one", "try again") from error

    def remove(self, name: str) -> None:
        """See `Objects`."""
        with contextlib.suppress(Missing), self._translated("write"):
            self._client.delete_object(Bucket=self._bucket, Key=name)

    @contextlib.contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        """Turn what boto3 raises into a BucketError."""
        from botocore import exceptions as boto

        try:
            yield
        except boto.ClientError as error:
            raise self._answered(error, verb) from error
        except (
            boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError,
            boto.ProfileNotFound, boto.NoAuthTokenError, boto.SSOError,
        ) as error:  # fmt: skip
            raise Refused(
                "AWS credentials", type(error).__name__,
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_SHARED_CREDENTIALS_FILE",
            ) from error  # fmt: skip
        except (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError) as error:
            raise _unreachable(type(error).__name__) from error
        except (boto.BotoCoreError, ValueError) as error:
            raise Refused(
                "an address that S3's client takes", type(error).__name__,
                "check the bucket's name, AWS_ENDPOINT_URL and AWS_REGION",
            ) from error  # fmt: skip

    def _answered(self, error: Any, verb: str) -> Missing | Refused | Unreachable:
        """What a service's refusal means. Its message is left out: it may quote the request."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if status >= 500 or status == 429 or code in _BUSY_CODES:
            return _unreachable(f"{status} {code}")
        if status == 404:
            return Missing(f"something to {verb}", "no such bucket or object", "check the name")
        if status in (409, 412):
            return Missing("one object while it is read", "a changed one", "run again")
        if status in (401, 403) or code in _FORBIDDEN_CODES:
            rights = "s3:GetObject and s3:ListBucket" if verb == "read" else "s3:PutObject"
            return Refused(
                f"permission to {verb}", f"'{code}'",
                f"grant your account {rights} on s3://{self._bucket}, or correct its credentials",
            )  # fmt: skip
        return Refused(
            f"to {verb} there", f"{status} {code}", "check the address, AWS_REGION and its bucket"
        )


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _unreachable(got: str) -> Unreachable:
    endpoint = _endpoint()
    host = urlsplit(endpoint).netloc.rpartition("@")[2] if endpoint else "s3.amazonaws.com"
    return Unreachable(
        f"an answer from {host}", got, "check the network and the address, then run again"
    )


def _entry(
    name: str, etag: str, size: int, metadata: dict[str, str], written: datetime.datetime
) -> Entry:
    # The ETag is the version: of equal bytes it is equal, and a read can be made to depend on it.
    plain = etag.strip('"')
    at = round(written.timestamp() * 1e6)
    return Entry(name, plain, int(size), plain, metadata.get("sha256", ""), at)


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _new_md5).hexdigest()


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)  # S3's own checksum
