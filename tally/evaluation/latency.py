"""How long a prediction takes on this machine, and what a million of them cost."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WARM_UP = 5
LEAST, MOST = 30, 2_000  # calls


@dataclass(frozen=True)
class Latency:
    """Of calls one after another.

    Attributes:
        median_seconds, p95_seconds: of one call, whatever it predicts at once.
        calls: that were measured.
    """

    median_seconds: float
    p95_seconds: float
    calls: int


def measure(call: Callable[[], object], seconds: float = 0.25) -> Latency:
    """Time a call again and again.

    Args:
        call: one prediction.
        seconds: about how long, 30 calls at least and 2,000 at most.
    """
    for _ in range(WARM_UP):
        call()
    taken: list[int] = []
    collecting = gc.isenabled()
    gc.disable()  # a collection belongs to this process, not to the model
    try:
        until = time.perf_counter() + seconds
        while len(taken) < LEAST or (len(taken) < MOST and time.perf_counter() < until):
            began = time.perf_counter_ns()
            call()
            taken.append(time.perf_counter_ns() - began)
    finally:
        if collecting:
            gc.enable()
    median, late = np.percentile(taken, [50, 95]) / 1e9
    return Latency(float(median), float(late), len(taken))


def usd_per_million(seconds: float, batch: int, price_usd_per_hour: float) -> float:
    """What a million predictions cost on one core kept busy by calls of `batch` examples.

    Args:
        seconds: of a call.
        batch: examples of a call.
        price_usd_per_hour: of the core.
    """
    return seconds / batch * 1e6 * price_usd_per_hour / 3600
