"""How two ranks prove to each other, over a fresh connection, that both know a generation's key.

    connecting rank                       accepting rank
    HELLO: generation, ranks, nonce  ──►
                                     ◄──  nonce, proof of the key
    proof of the key                 ──►
                                     ◄──  welcome

Each proof covers the whole hello and both nonces under a word of its own, so none can be reflected
or used again. Nothing is sent in answer to a hello of another generation, and the key never goes
over the wire. The scripts do no I/O: they yield bytes to be sent, or how many they wait for.
"""

import hashlib
import hmac
import secrets
import struct
from collections.abc import Generator
from typing import NamedTuple

from tally.gang.collective import Membership

_HELLO = struct.Struct("<4sBxxxQII32s")
_MAGIC, _VERSION = b"TLYH", 1
NONCE_BYTES = PROOF_BYTES = 32


class Refused(Exception):
    """The other side is not a peer of this generation; says why."""


class Proven(NamedTuple):
    """Who is at the other end, and the seeds of the connection's header checksums."""

    peer: int
    seed_in: int
    seed_out: int


Script = Generator[bytes | int, bytes, Proven]


def connecting(membership: Membership, peer: int) -> Script:
    """The side of the rank that connected with `peer`."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    hello = _HELLO.pack(_MAGIC, _VERSION, membership.generation, membership.rank, peer, nonce)
    yield hello
    answer = yield NONCE_BYTES + PROOF_BYTES
    said = hello + answer[:NONCE_BYTES]
    _compare(answer[NONCE_BYTES:], membership, b"accept", said)
    yield _proof(membership, b"connect", said)
    _compare((yield PROOF_BYTES), membership, b"welcome", said)
    return Proven(peer, _seed(membership, b"down", said), _seed(membership, b"up", said))


def accepting(membership: Membership) -> Script:
    """The side of the rank that was connected with; only higher ranks of its generation may."""
    hello = yield _HELLO.size
    magic, version, generation, peer, rank, _ = _HELLO.unpack(hello)
    if magic != _MAGIC or version != _VERSION:
        raise Refused("no hello of this version")
    if generation != membership.generation:
        raise Refused(f"a hello of generation {generation}, expected {membership.generation}")
    if rank != membership.rank or not membership.rank < peer < membership.world_size:
        raise Refused(f"a hello of rank {peer} for rank {rank}")
    nonce = secrets.token_bytes(NONCE_BYTES)
    said = hello + nonce
    yield nonce + _proof(membership, b"accept", said)
    _compare((yield PROOF_BYTES), membership, b"connect", said)
    yield _proof(membership, b"welcome", said)
    return Proven(peer, _seed(membership, b"up", said), _seed(membership, b"down", said))


def _proof(membership: Membership, word: bytes, said: bytes) -> bytes:
    return hmac.digest(membership.key, b"tally mesh " + word + b"\0" + said, hashlib.sha256)


def _compare(got: bytes, membership: Membership, word: bytes, said: bytes) -> None:
    if not hmac.compare_digest(got, _proof(membership, word, said)):
        raise Refused("a wrong proof of the generation's key")


def _seed(membership: Membership, word: bytes, said: bytes) -> int:
    return int.from_bytes(_proof(membership, word, said)[:8], "little")
