"""How somebody outside asks a run for another number of workers."""

import grpc

from tally.errors import RunError, SpecError
from tally.gang.coordinator import coordinator_pb2 as pb
from tally.gang.coordinator import wire


def ask_resize(
    address: str,
    token: bytes,
    workers: int,
    machine_type: str = "",
    *,
    timeout_seconds: float = 5.0,
    tls_ca: bytes | None = None,
) -> None:
    """Ask a run's conductor for another number of workers, on another machine type; it decides.

    Raises:
        SpecError: refused: another token, a number out of bounds.
        RunError: no answer.
    """
    channel = wire.open_channel(address, tls_ca)
    try:
        wire.call(channel, "Resize")(
            pb.ResizeRequest(workers=workers, machine_type=machine_type),
            metadata=wire.bearer(token),
            timeout=timeout_seconds,
        )
    except grpc.RpcError as error:
        if error.code() in wire.REFUSALS:
            raise SpecError(f"resize: {error.details()}") from error
        raise RunError(
            f"coordinator {address}: expected an answer within {timeout_seconds:.0f} s, got "
            f"{error.code().name}: {error.details()}; is the run training?"
        ) from error
    finally:
        channel.close()
