"""The service's methods by hand: no generated gRPC stubs, only the generated messages."""

from typing import Any

import grpc

from tally.errors import SpecError
from tally.gang.coordinator import coordinator_pb2 as pb

SCHEMA = 1
SERVICE = "tally.coordinator.v1.Coordinator"
MESSAGE_BYTES = 4 << 20

# trying again does not help
REFUSALS = (
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
)

# name: request, reply, whether the reply is a stream
METHODS: dict[str, tuple[Any, Any, bool]] = {
    "Join": (pb.JoinRequest, pb.Order, True),
    "Heartbeat": (pb.HeartbeatRequest, pb.HeartbeatReply, False),
    "Leave": (pb.LeaveRequest, pb.LeaveReply, False),
    "Resize": (pb.ResizeRequest, pb.ResizeReply, False),
    "Fetch": (pb.FetchRequest, pb.Chunk, True),
}


def handlers(servicer: Any) -> grpc.GenericRpcHandler:
    """What a server needs to let `servicer`'s methods of those names answer."""
    made = {}
    for name, (request, reply, streams) in METHODS.items():
        kind = (
            grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        )
        made[name] = kind(
            getattr(servicer, name),
            request_deserializer=request.FromString,
            response_serializer=reply.SerializeToString,
        )
    return grpc.method_handlers_generic_handler(SERVICE, made)


def call(channel: grpc.Channel, name: str) -> Any:
    """The client's side of a method."""
    request, reply, streams = METHODS[name]
    kind = channel.unary_stream if streams else channel.unary_unary
    return kind(
        f"/{SERVICE}/{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=reply.FromString,
    )


def open_channel(address: str, tls_ca: bytes | None) -> grpc.Channel:
    """A connection of its own, which comes back soon after a cut and notices a dead one."""
    options = [
        ("grpc.keepalive_time_ms", 2000),
        ("grpc.keepalive_timeout_ms", 5000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 3000),  # how long one attempt to connect may take
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ]
    if tls_ca is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(tls_ca), options)


def bearer(token: bytes) -> tuple[tuple[str, str], ...]:
    """The metadata that every call carries.

    Raises:
        SpecError: a token that no HTTP header can carry.
    """
    if not token or not all(0x21 <= byte <= 0x7E for byte in token):
        raise SpecError(
            "token: expected printable ASCII without spaces, got other bytes or none; "
            "make it with secrets.token_urlsafe"
        )
    return (("authorization", f"Bearer {token.decode()}"),)
