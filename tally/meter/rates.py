"""How much a namespace may post: requests and bytes a minute, out of a bucket that fills again.

A bucket holds a minute's worth. It is one meter's memory: two meters let through twice as much, and
one that begins anew has forgotten. Nobody's bucket is another namespace's.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from tally.meter.refusal import Refusal

_REMEMBERED = 1024  # namespaces, before those are forgotten that may post all again


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one namespace may post in a minute."""

    requests_a_minute: int = 600
    bytes_a_minute: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Bucket:
    """What may be posted at this moment (monotonic seconds); less than nothing is a debt."""

    requests: float
    bytes: float
    at_seconds: float


def full(rate: Rate, now_seconds: float) -> Bucket:
    """The bucket of who has posted nothing for a minute. Pure."""
    return Bucket(rate.requests_a_minute, rate.bytes_a_minute, now_seconds)


def filled(bucket: Bucket, rate: Rate, now_seconds: float) -> Bucket:
    """The bucket as it is by now. Pure."""
    minutes = max(0.0, now_seconds - bucket.at_seconds) / 60
    requests = bucket.requests + minutes * rate.requests_a_minute
    size = bucket.bytes + minutes * rate.bytes_a_minute
    return Bucket(
        min(requests, rate.requests_a_minute), min(size, rate.bytes_a_minute), now_seconds
    )


def wait_seconds(bucket: Bucket, rate: Rate, size_bytes: int) -> float:
    """Until one more request of that size may be posted; 0 where it may now. Pure."""
    for_request = (1 - bucket.requests) * 60 / rate.requests_a_minute
    for_bytes = (size_bytes - bucket.bytes) * 60 / rate.bytes_a_minute
    return max(0.0, for_request, for_bytes)


class Rates:
    """The buckets of all namespaces; for one thread."""

    def __init__(
        self, rate: Rate | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Nobody has posted yet.

        Args:
            rate: of each namespace; the usual one where None.
            monotonic: seconds.
        """
        self._rate, self._monotonic = rate or Rate(), monotonic
        self._buckets: dict[str, Bucket] = {}

    def take(self, namespace: str, size_bytes: int) -> None:
        """Count a request, before its body is read.

        Args:
            namespace: whose.
            size_bytes: of its body, as far as it says.

        Raises:
            Refusal: 429, with when to ask again; a request that is refused does not count.
        """
        rate, bucket = self._rate, self._now(namespace)
        if wait := wait_seconds(bucket, rate, size_bytes):
            seconds = math.ceil(wait)
            raise Refusal(
                429,
                f"the namespace's posts: expected {rate.requests_a_minute} requests and "
                f"{rate.bytes_a_minute >> 20} MiB a minute at most, got more; "
                f"ask again in {seconds} s",
                seconds,
            )
        self._put(namespace, bucket, 1, size_bytes)

    def read(self, namespace: str, further_bytes: int) -> None:
        """Count what a body had that did not say how large it is: the next one waits for it."""
        self._put(namespace, self._now(namespace), 0, further_bytes)

    def _now(self, namespace: str) -> Bucket:
        now = self._monotonic()
        bucket = self._buckets.get(namespace)
        return full(self._rate, now) if bucket is None else filled(bucket, self._rate, now)

    def _put(self, namespace: str, bucket: Bucket, requests: int, size: int) -> None:
        self._buckets[namespace] = Bucket(
            bucket.requests - requests, bucket.bytes - size, bucket.at_seconds
        )
        if len(self._buckets) > _REMEMBERED:
            now = bucket.at_seconds
            self._buckets = {
                name: one
                for name, one in self._buckets.items()
                if filled(one, self._rate, now) != full(self._rate, now)
            }
