"""What smaller sizes would have said of larger ones, and how wrong that was. Pure.

For each size but the largest, a model is fitted to the rows up to it, once growing as a ring and
once as log2, and both are compared with the rows beyond. Their disagreement weighs the two, their
errors over distance are those to expect beyond the largest size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from tally.scaling.stepmodel import StepTime
from tally.scaling.stepsolve import STARTS, Array, Rows, predicted, solve

MOST_CUTS = 6  # sizes to forecast from: each costs two fits
HALF, HALF_SD = 0.5, 0.25  # the share of log2 that is believed before any forecast, ± what
SIZE_SD = 0.1  # of a logarithm: what sizes are taken to scatter by, as if one had shown it
# a mean error of a logarithm that is believed before rows say otherwise: here, and a doubling on
GUESS, GUESS_DOUBLED = 0.1, 0.125


@dataclass(frozen=True, slots=True)
class Forecast:
    """One larger size as seen from the rows up to a smaller one.

    Attributes:
        doublings: of workers, from the largest fitted to this one.
        ring, log2: the logarithms of predicted over measured seconds, a row each.
        telling: two sizes at least were fitted, so that growth was theirs and not the anchor's.
        others: how many sizes forecast this one.
    """

    doublings: float
    ring: Array
    log2: Array
    telling: bool
    others: int


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean absolute errors of logarithms.

    Attributes:
        alone: of steps of one worker.
        gang: of steps of several, up to the largest size seen.
        doubling: what each doubling of workers beyond it adds.
    """

    alone: float
    gang: float
    doubling: float


def forecasts(rows: Rows, anchor: StepTime, pull: float) -> list[Forecast]:
    """All larger sizes as the smaller ones forecast them, one node and several apart."""
    sizes = np.unique(rows.workers[rows.workers > 1])
    every = sizes[:-1]
    if len(every) > MOST_CUTS:
        every = every[np.linspace(0, len(every) - 1, MOST_CUTS).astype(int)]
    found = []
    for largest in every:
        known = rows.where(rows.workers <= largest)
        models = [solve(known, anchor, pull, share, STARTS[:1]) for share in (0.0, 1.0)]
        for across in (False, True):
            fitted = known.workers[(known.workers > 1) & ((known.nodes > 1) == across)]
            if not len(fitted):
                continue
            beyond = rows.where((rows.workers > largest) & ((rows.nodes > 1) == across))
            for size in np.unique(beyond.workers):
                held = beyond.where(beyond.workers == size)
                ring, log2 = (np.log(predicted(each, held) / held.step_seconds) for each in models)
                found.append(
                    Forecast(
                        doublings=math.log2(size / fitted.max()),
                        ring=ring,
                        log2=log2,
                        telling=len(np.unique(fitted)) > 1,
                        others=int((every < size).sum()),
                    )
                )
    return found


def log2_share_of(found: Sequence[Forecast]) -> float:
    """Which share of the growth at the largest size goes as log2, 0 to 1.

    The most probable one, if it was HALF ± HALF_SD before: the mean error of each forecast is
    linear in the share, and sizes scatter by as much as the best share leaves unexplained. Where
    both growths forecast alike, as they do from few sizes, it stays at half.
    """
    telling = [seen for seen in found if seen.telling]
    if not telling:
        return HALF
    ring = np.array([seen.ring.mean() for seen in telling])
    apart = np.array([seen.log2.mean() for seen in telling]) - ring
    weight = 1 / np.array([seen.others for seen in telling])
    along, across = float(weight @ (ring * apart)), float(weight @ apart**2)
    best = min(max(-along / across, 0.0), 1.0) if across > 0 else HALF
    left = float(weight @ (ring + best * apart) ** 2)
    variance = (SIZE_SD**2 + left) / (1 + float(weight.sum()))
    share = (HALF / HALF_SD**2 - along / variance) / (1 / HALF_SD**2 + across / variance)
    return min(max(share, 0.0), 1.0)


def spread(
    alone: ArrayLike, gang: ArrayLike, found: Sequence[Forecast], log2_share: float
) -> Errors:
    """The errors to expect, from fitted rows' and from forecasts'.

    Args:
        alone, gang: errors of logarithms of the fitted rows of one and of several workers.
        found: errors of larger sizes.
        log2_share: as the model has it.

    A line over doublings through each forecast's mean error, the fitted rows' at 0, and what was
    believed before any; neither number below 0 (non-negative least squares).
    """
    points = [(0.0, GUESS), (1.0, GUESS_DOUBLED)]
    if np.size(gang):
        points.append((0.0, float(np.mean(np.abs(gang)))))
    for seen in found:
        errors = (1 - log2_share) * seen.ring + log2_share * seen.log2
        points.append((seen.doublings, float(np.abs(errors).mean())))
    distance, error = np.array(points).T
    (base, doubling), _ = nnls(np.column_stack([np.ones_like(distance), distance]), error)
    lone = np.append(np.abs(alone), GUESS)
    return Errors(float(lone.mean()), float(base), float(doubling))
