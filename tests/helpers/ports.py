"""Ports that are a test's own before anybody listens there."""

import socket


class HeldPort(socket.socket):
    """A port that nobody else is given until this is closed or forgotten.

    Who calls it is refused, until a server binds it by number. A server that sets SO_REUSEADDR may,
    as nearly all do, one after another too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.bind(("", 0))

    @property
    def number(self) -> int:
        return int(self.getsockname()[1])
