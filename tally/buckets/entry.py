"""What a listing tells of an object."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One version of an object.

    Attributes:
        name: of the object, whole.
        version: GCS's generation, S3's ETag.
        bytes: its size.
        checksum: the service's own: CRC32C in base64 (gs), ETag (s3).
        sha256: as written beside it by Tally; "" where unknown (S3's listings do not say).
        written_microseconds: when this version was, UTC.
    """

    name: str
    version: str
    bytes: int
    checksum: str
    sha256: str = ""
    written_microseconds: int = 0
