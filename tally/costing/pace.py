"""The pace of a training's steps, from several measurements of the same size. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tally.costing.overheads import WITHIN_80
from tally.costing.profile import Profile
from tally.costing.quote import Range, symmetric

NEWEST = 6  # measurements that count
FADE = 0.5  # what a measurement counts of the one after it: machines drift
DRIFT = 0.05  # by which paces differ from one time to another, before any was seen again
BELIEVED = 2  # values that DRIFT counts as


@dataclass(frozen=True, slots=True)
class Pace:
    """Steps of one size.

    Attributes:
        seconds: of a full step, the range that the next training's mean is in.
        newest: of the measurements.
        start_seconds: of its gang until it trained, where a profile began with that size, else 0.
    """

    seconds: Range
    newest: Profile
    start_seconds: float


def pace(seen: Sequence[Profile]) -> Pace:
    """The pace of the next training of a size.

    Args:
        seen: measurements of one key and number of workers, newest first, one or more.
    """
    counted = seen[:NEWEST]
    logs = [math.log(one.step_seconds) for one in counted]
    # what the mean of those before each one was off by is what this one will be off by
    off = [x - _faded(logs[age + 1 :]) for age, x in enumerate(logs[:-1])]
    variance = (math.fsum(x * x for x in off) + BELIEVED * DRIFT**2) / (len(off) + BELIEVED)
    inside = seen[0].spread / 2 if len(counted) == 1 else 0.0
    half = WITHIN_80 * math.sqrt(variance + inside**2)
    starts = [float(one.document.get("start_seconds") or 0.0) for one in counted]
    return Pace(
        symmetric(math.exp(_faded(logs)), math.expm1(half)),
        seen[0],
        next((start for start in starts if start), 0.0),
    )


def _faded(logs: Sequence[float]) -> float:
    """Their mean, the newest first and heaviest."""
    weights = [FADE**age for age in range(len(logs))]
    return math.fsum(w * x for w, x in zip(weights, logs, strict=True)) / math.fsum(weights)
