"""A worker's orders on their way to it: who puts one in never waits for the worker."""

import queue
import threading
import time
from collections.abc import Iterator

import grpc

from tally.gang.coordinator import coordinator_pb2 as pb

ORDERS = 64
LOOK_SECONDS = 2.0
LINGER_SECONDS = 1.0


class Outbox:
    """Iterated by the worker's stream, filled under the coordinator's lock."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self._orders: queue.Queue[pb.Order | None] = queue.Queue(ORDERS)
        self._ended_seconds: float | None = None
        self.through = False

    def put(self, order: pb.Order) -> bool:
        """False where the worker has left too many orders unread."""
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            return False
        return True

    def end(self) -> None:
        """Nothing comes after what is in."""
        self._ended_seconds = time.monotonic()
        try:
            self._orders.put_nowait(None)
        except queue.Full:
            self.cut()

    def cut(self) -> None:
        """End the stream with what is in it."""
        self._context.cancel()
        self.through = True

    def cut_if_stuck(self) -> None:
        """End a stream whose worker does not read what was left for it."""
        if self._ended_seconds is None or self.through:
            return
        if time.monotonic() - self._ended_seconds > LINGER_SECONDS:
            self.cut()

    def __iter__(self) -> Iterator[pb.Order]:
        """The orders as they come, until the end."""
        try:
            while True:
                try:
                    order = self._orders.get(timeout=LOOK_SECONDS)
                except queue.Empty:
                    # gRPC's threads keep a process from ending that forgot to close its server
                    if threading.main_thread().is_alive() and self._context.is_active():
                        continue
                    return
                if order is None:
                    return
                yield order
        finally:
            self.through = True
