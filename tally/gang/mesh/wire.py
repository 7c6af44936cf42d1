"""What stands on the wire: a frame's header.

A frame is a header and a payload. Header and payload each have a checksum; the header's is seeded
with a number that only this direction of this connection has, so that a frame recorded elsewhere
is refused even where all its fields fit.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

import xxhash

MAGIC = b"TLYM"
VERSION = 1

NOTHING = memoryview(b"")

# kinds of frames
ROW = 1  # a part of one row of the sender's, to whoever adds it
RESULT = 2  # a part of the sum, from who added it
BROADCAST = 3
GOODBYE = 4  # the sender leaves after a completed call

_FIELDS = struct.Struct("<4sBBBxIQQQQQQ")
_SUM = struct.Struct("<Q")
HEADER_BYTES = _FIELDS.size + _SUM.size


class WireError(Exception):
    """What came is no frame that belongs here; says what was wrong."""


@dataclass(frozen=True, slots=True)
class Call:
    """What all frames of a call have in common.

    Attributes:
        generation: of the membership.
        number: of the call within its generation, from 1.
        dtype: code of the elements' type, 0 for bytes.
    """

    generation: int
    number: int
    dtype: int


class Frame(NamedTuple):
    """A frame to be sent.

    Attributes:
        kind: ROW, RESULT, BROADCAST or GOODBYE.
        rows: how many rows the sender adds to this call.
        extent: of the whole call: elements, or bytes of a broadcast.
        payload: bytes.
    """

    kind: int
    rows: int
    extent: int
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Header:
    """One frame's header, checked.

    Attributes:
        kind, rows, extent: as in Frame.
        length: of the payload, bytes.
        checksum: of the payload.
    """

    kind: int
    rows: int
    extent: int
    length: int
    checksum: int


def pack(call: Call, frame: Frame, index: int, seed: int) -> bytes:
    """The header of a frame. `index` counts the frames of this call on this connection."""
    checksum = xxhash.xxh3_64_intdigest(frame.payload)
    fields = _FIELDS.pack(
        MAGIC, VERSION, frame.kind, call.dtype, frame.rows, call.generation, call.number, index,
        frame.extent, len(frame.payload), checksum,
    )  # fmt: skip
    return fields + _SUM.pack(xxhash.xxh3_64_intdigest(fields, seed))


def unpack(data: bytearray, call: Call, index: int, seed: int) -> Header:
    """The header, which must be of this call and the next one of its connection.

    Raises:
        WireError: it is not.
    """
    (magic, version, kind, dtype, rows, generation, number, got, extent, length, checksum) = (
        _FIELDS.unpack_from(data)
    )
    if magic != MAGIC:
        raise WireError("garbage where a frame should begin")
    if version != VERSION:
        raise WireError(f"a frame of version {version}, expected {VERSION}")
    if generation != call.generation:
        raise WireError(f"a frame of generation {generation}, expected {call.generation}")
    if number != call.number:
        raise WireError(f"a frame of call {number}, expected {call.number}")
    if got != index:
        raise WireError(f"frame {got} of the call, expected {index}")
    if _SUM.unpack_from(data, _FIELDS.size)[0] != xxhash.xxh3_64_intdigest(
        memoryview(data)[: _FIELDS.size], seed
    ):
        raise WireError("a header with a wrong checksum")
    if dtype != call.dtype and kind != GOODBYE:
        raise WireError(f"elements of type {dtype}, expected {call.dtype}")
    return Header(kind, rows, extent, length, checksum)


def verify(header: Header, payload: memoryview) -> None:
    """Compare a payload with its checksum.

    Raises:
        WireError: it is not what was sent.
    """
    if xxhash.xxh3_64_intdigest(payload) != header.checksum:
        raise WireError(f"a payload of {header.length} bytes with a wrong checksum")
