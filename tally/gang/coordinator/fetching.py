"""Files of the dataset folder, streamed to workers that share no storage with the conductor."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import grpc
import xxhash

from tally.errors import RunError
from tally.gang.coordinator import coordinator_pb2 as pb
from tally.gang.coordinator import wire

CHUNK_BYTES = 1 << 20
TRIES = 8
RETRY_SECONDS = 0.1
RETRY_MOST_SECONDS = 2.0
BUSY_SECONDS = 900.0  # others are served first

# no more of these will help
_FINAL = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.INVALID_ARGUMENT,
)


class Files:
    """The server's side: so many readers at a time, none of them for ever without reading."""

    def __init__(self, folder: Path | None, most: int, stalled_seconds: float) -> None:
        self._folder, self._stalled_seconds = folder, stalled_seconds
        self._free = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._moved: dict[grpc.ServicerContext, float] = {}

    def send(self, request: pb.FetchRequest, context: grpc.ServicerContext) -> Iterator[pb.Chunk]:
        """The file from an offset on; the last chunk may be empty."""
        path = self._inside(request.name)
        if path is None:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"expected a file of the dataset folder, got {request.name[:200]!r}",
            )
            raise AssertionError("abort raises")
        if not self._free.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many fetches at a time")
        try:
            with open(path, "rb") as file:
                total_bytes = path.stat().st_size
                file.seek(min(request.offset, total_bytes))
                data = b"-"
                while data:
                    with self._lock:
                        self._moved[context] = time.monotonic()
                    data = file.read(CHUNK_BYTES)
                    checksum = xxhash.xxh3_64_intdigest(data)
                    yield pb.Chunk(data=data, checksum=checksum, total_bytes=total_bytes)
        finally:
            with self._lock:
                self._moved.pop(context, None)
            self._free.release()

    def cut_stalled(self) -> None:
        """Cut off who has taken nothing for too long."""
        now = time.monotonic()
        with self._lock:
            late = [one for one, at in self._moved.items() if now - at > self._stalled_seconds]
        for context in late:
            context.cancel()

    def _inside(self, name: str) -> Path | None:
        pure = PurePosixPath(name)
        if self._folder is None or "\0" in name or pure.is_absolute() or ".." in pure.parts:
            return None
        folder = self._folder.resolve()
        path = (folder / pure).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None


def receive(
    channel: grpc.Channel, metadata: tuple[tuple[str, str], ...], name: str
) -> Iterator[bytes]:
    """A file piece by piece; after a break it goes on from where it was.

    Raises:
        RunError: no such file, or it broke off or came damaged again and again.
    """
    offset, tries, total_bytes = 0, 0, -1
    busy_until = time.monotonic() + BUSY_SECONDS
    while True:
        request = pb.FetchRequest(name=name, offset=offset)
        stream = wire.call(channel, "Fetch")(request, metadata=metadata)
        try:
            for chunk in stream:
                if xxhash.xxh3_64_intdigest(chunk.data) != chunk.checksum:
                    problem = f"a damaged piece at byte {offset}"
                    break
                offset, tries, total_bytes = offset + len(chunk.data), 0, chunk.total_bytes
                if chunk.data:
                    yield chunk.data
            else:
                if offset == total_bytes:
                    return
                problem = f"{offset} bytes of {total_bytes}"
        except grpc.RpcError as error:
            problem = f"{error.code().name}: {error.details()}"
            tries += TRIES if error.code() in _FINAL else 0
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                tries = min(tries, TRIES - 2) if time.monotonic() < busy_until else TRIES
        finally:
            stream.cancel()
        tries += 1
        if tries >= TRIES:
            raise RunError(
                f"{name}: expected the file from the conductor's dataset folder, got {problem}; "
                "resume the run"
            )
        time.sleep(min(RETRY_MOST_SECONDS, RETRY_SECONDS * 2**tries))
