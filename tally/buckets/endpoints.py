"""Which server keeps Kubeflow's own bucket: one of several Services, found where pods see them.

Kubeflow up to 2.15 has it at minio-service, from 2.16 on at seaweedfs. Who compiles may see
neither: the pipeline carries both, and a step takes the one that has an address.
"""

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from urllib.parse import urlsplit

from tally.errors import RunError

VARIABLE = "TALLY_STORE_ENDPOINTS"
KUBEFLOWS = (
    # 8333 and not 9000, which leads there too: a worker's NetworkPolicy is held against the port of
    # the pod behind the Service
    "http://seaweedfs.kubeflow:8333",
    "http://minio-service.kubeflow:9000",
)
NAMES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # the first that is set counts
RESOLVE_SECONDS = 10.0
_PAUSE_SECONDS = 0.5


def use_first_there(
    environment: MutableMapping[str, str] = os.environ,
    has_address: Callable[[str], bool] | None = None,
    seconds: float = RESOLVE_SECONDS,
) -> None:
    """Set AWS_ENDPOINT_URL to the candidate that is there, where it is left open.

    Args:
        environment: of this process and so of its children; TALLY_STORE_ENDPOINTS has the
            candidates, with spaces between.
        has_address: whether a host has one; DNS is asked where None.
        seconds: for DNS to answer.

    Raises:
        RunError: none of them has an address.
    """
    endpoints = environment.get(VARIABLE, "").split()
    if endpoints and not any(environment.get(name) for name in NAMES):
        hosts = [host_of(endpoint) for endpoint in endpoints]
        found = _looked_up(hosts, has_address or _asker(seconds), seconds)
        environment["AWS_ENDPOINT_URL"] = first_there(endpoints, found, seconds)


def first_there(endpoints: Sequence[str], found: Mapping[str, bool], seconds: float) -> str:
    """The first of the endpoints whose host has an address.

    Args:
        endpoints: candidates, the best first.
        found: by host, whether it has an address; a host without an answer is not in it.
        seconds: that were waited for answers.

    Raises:
        RunError: none has one.
    """
    for endpoint in endpoints:
        if found.get(host_of(endpoint)):
            return endpoint
    hosts = [host_of(endpoint) for endpoint in endpoints]
    silent = [host for host in hosts if host not in found]
    got = f"no answer of DNS for {', '.join(silent)} within {seconds:g} s" if silent else "none"
    raise RunError(
        f"store: expected an address of {' or '.join(hosts)}, got {got}; set TALLY_STORE and "
        "AWS_ENDPOINT_URL to a bucket that pods reach, then submit again"
    )


def host_of(endpoint: str) -> str:
    """Of a URL; "" where it has none."""
    return urlsplit(endpoint).hostname or ""


def port_of(endpoint: str) -> int:
    """Of a URL; that of its scheme where it has none."""
    parts = urlsplit(endpoint)
    return parts.port or (80 if parts.scheme == "http" else 443)


def _looked_up(
    hosts: Sequence[str], has_address: Callable[[str], bool], seconds: float
) -> dict[str, bool]:
    """By host, whether it has an address, until that decides which is taken.

    All are asked at once: DNS may take its time to say no.
    """
    answers: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
    deadline = time.monotonic() + seconds
    for host in hosts:

        def ask(host: str = host) -> None:
            answers.put((host, has_address(host)))

        threading.Thread(target=ask, name=f"address of {host}", daemon=True).start()
    found: dict[str, bool] = {}
    while not _is_decided(hosts, found):
        try:
            host, there = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[host] = there
    return found


def _is_decided(hosts: Sequence[str], found: Mapping[str, bool]) -> bool:
    """Whether no further answer changes which host is the first with an address."""
    first = next((host for host in hosts if found.get(host, True)), None)
    return first is None or first in found


def _asker(seconds: float) -> Callable[[str], bool]:
    """Asks DNS, again while it says that it cannot tell now; a new pod may be ahead of it."""
    deadline = time.monotonic() + seconds

    def has_address(host: str) -> bool:
        while True:
            try:
                return bool(socket.getaddrinfo(host, None))
            except OSError as error:
                again = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
                if not again or time.monotonic() + _PAUSE_SECONDS > deadline:
                    return False
            time.sleep(_PAUSE_SECONDS)

    return has_address
