"""What agent, nursery and children tell each other: packets, whole or not at all."""

import json
import socket
from dataclasses import asdict
from typing import Any

from tally.gang.collective import Membership

PACKET_BYTES = 96 * 1024  # a packet is one message: below the socket's buffer
TOLD = b"t"  # bytes of the body's own
ORDER = b"j"  # JSON


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a line; a packet that a killed process was writing never arrives in part."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(line: socket.socket, kind: str, **values: Any) -> None:
    """Say something with a name.

    Raises:
        OSError: nobody listens.
    """
    line.send(ORDER + json.dumps({"kind": kind, **values}).encode())


def tell(line: socket.socket, data: bytes) -> None:
    """Pass on what a body tells.

    Raises:
        ValueError: too long for a packet.
        OSError: nobody listens.
    """
    if len(data) >= PACKET_BYTES:
        raise ValueError(f"told: expected less than {PACKET_BYTES} bytes, got {len(data)}")
    line.send(TOLD + data)


def receive(line: socket.socket) -> bytes | dict[str, Any] | None:
    """What comes next: bytes that a body told, an order with its "kind", None at the end."""
    try:
        packet = line.recv(PACKET_BYTES)
    except ConnectionError:
        return None
    if not packet:
        return None
    if packet[:1] == TOLD:
        return packet[1:]
    order: dict[str, Any] = json.loads(packet[1:])
    return order


def packed(membership: Membership) -> dict[str, Any]:
    """A membership as JSON can hold it."""
    return {**asdict(membership), "key": membership.key.hex()}


def unpacked(values: dict[str, Any]) -> Membership:
    """What `packed` was given."""
    return Membership(
        values["generation"], values["rank"], tuple(values["addresses"]),
        bytes.fromhex(values["key"]),
    )  # fmt: skip
