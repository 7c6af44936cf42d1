"""Where the gradient noise scale goes, out of where it came from. Pure.

In most trainings the scale grows, roughly as a power of progress, and a larger batch measures more
of it. So its logarithm is followed by a Kalman filter over log progress with three states: the
level, its trend, and the slope over the logarithm of the batch. Level and trend may drift, the
slope hardly. Before a run has shown anything, both exponents are at the low end of what trainings
show; what is forecast is bounded, and never falls.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

ONE_SPREAD = 0.3  # standard deviation of a measurement's logarithm
LEVEL_DRIFT = 3.0  # variance of the level's drift while progress grows by a factor e
TREND_DRIFT = 0.5
SLOPE_DRIFT = 0.01
TREND = (0.5, 0.5)  # before anything was seen: mean and standard deviation
SLOPE = (0.2, 0.2)
MOST_TREND = 1.5
MOST_SLOPE = 0.8
CASES = np.array([1 / 3, 1 / 6, 1 / 6, 1 / 6, 1 / 6])  # their probabilities; Gauss-Hermite's
AWAY = math.sqrt(3)
STEEPER = 3  # the case with the largest slope


@dataclass(frozen=True, slots=True)
class NoiseSeen:
    """One measurement of the gradient noise scale.

    Attributes:
        progress_examples: when, in examples at the base batch, above 0.
        batch_size: of the steps it was measured in.
        noise_scale_examples: above 0.
    """

    progress_examples: float
    batch_size: int
    noise_scale_examples: float


@dataclass(frozen=True, slots=True)
class NoiseForecast:
    """log B = level + trend · log(progress ÷ now) + slope · log(batch ÷ batch now).

    Attributes:
        progress_examples: now.
        batch_size: where the level holds.
        level: logarithm of the scale now.
        trend: of progress, 0 or more.
        slope: of the batch, 0 or more.
        trend_spread: standard deviation of the trend.
        slope_spread: standard deviation of the slope.
    """

    progress_examples: float
    batch_size: int
    level: float
    trend: float = 0.0
    slope: float = 0.0
    trend_spread: float = 0.0
    slope_spread: float = 0.0

    def cases(self) -> tuple["NoiseForecast", ...]:
        """What may come, with the probabilities CASES: as expected, other trends, other slopes."""
        trend, slope = AWAY * self.trend_spread, AWAY * self.slope_spread
        return (
            self,
            replace(self, trend=min(self.trend + trend, MOST_TREND)),
            replace(self, trend=max(self.trend - trend, 0.0)),
            replace(self, slope=min(self.slope + slope, MOST_SLOPE)),
            replace(self, slope=max(self.slope - slope, 0.0)),
        )

    def at(self, progress_examples: NDArray[np.float64], batch_size: int) -> NDArray[np.float64]:
        """The scale in examples, for later progress (an array) and a batch."""
        further = np.log(np.maximum(progress_examples / self.progress_examples, 1.0))
        larger = math.log(batch_size / self.batch_size)
        scale: NDArray[np.float64] = np.exp(self.level + self.trend * further + self.slope * larger)
        return scale


def forecast(seen: Sequence[NoiseSeen], batch_size: int) -> NoiseForecast | None:
    """What the measurements so far let one expect.

    Args:
        seen: of this run, in order; those that are not positive numbers do not count.
        batch_size: the present batch; the level is given for it.

    Returns:
        None while nothing was measured.
    """
    usable = [s for s in seen if 0 < s.noise_scale_examples < math.inf and s.progress_examples > 0]
    if not usable:
        return None
    now = usable[0].progress_examples
    level, trend, slope = math.log(usable[0].noise_scale_examples), TREND[0], SLOPE[0]
    state = np.array([level - slope * math.log(usable[0].batch_size / batch_size), trend, slope])
    spread = np.diag([25.0, TREND[1] ** 2, SLOPE[1] ** 2])
    drift = np.diag([LEVEL_DRIFT, TREND_DRIFT, SLOPE_DRIFT])
    for one in usable:
        step = math.log(max(one.progress_examples / now, 1.0))
        now = max(now, one.progress_examples)
        move = np.eye(3)
        move[0, 1] = step
        state = move @ state
        spread = move @ spread @ move.T + step * drift
        sees = np.array([1.0, 0.0, math.log(one.batch_size / batch_size)])
        gain = spread @ sees / (sees @ spread @ sees + ONE_SPREAD**2)
        state = state + gain * (math.log(one.noise_scale_examples) - sees @ state)
        spread = spread - np.outer(gain, sees @ spread)
    level, trend, slope = state.tolist()
    return NoiseForecast(
        now,
        batch_size,
        level,
        min(max(trend, 0.0), MOST_TREND),
        min(max(slope, 0.0), MOST_SLOPE),
        math.sqrt(spread[1, 1]),
        math.sqrt(spread[2, 2]),
    )
