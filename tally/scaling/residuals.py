"""Where the step model is off: what ran corrects it there and, less, nearby. Pure.

Kriging of the logarithm of measured ÷ modelled step time. Sizes are alike as far as their workers
and their examples a pass are, and a size that has run leaves hardly a doubt about itself.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tally.scaling.stepfit import Fitted, Observation, interval
from tally.scaling.stepmodel import step_seconds

Floats = NDArray[np.float64]

STEP_SPREAD = 0.1  # standard deviation of the logarithm of an observation of weight 1
LEAST_SPREAD = 0.02  # what no weight takes away
LEAST_DOUBT = 0.12  # how far any size may be off before it has run: slow nodes, busy networks
ALIKE_WORKERS = 4.0  # doublings of workers over which likeness falls to 1/e
ALIKE_EXAMPLES = 2.0  # doublings of the examples a pass
ALIKE_NODES = 0.5  # likeness of sizes of one node and of several
IN_80 = 1.28  # standard deviations: 80 % of a normal law are within


def corrected(
    fitted: Fitted,
    observations: Sequence[Observation],
    asked: Sequence[tuple[int, int, int, int]],
) -> tuple[Floats, Floats]:
    """Step seconds as expected, and the doubt about them.

    Args:
        fitted: the model.
        observations: of the same machine type, of steps that ran (the latest, if that changes).
        asked: (workers, nodes, examples a pass of the slowest worker, passes), q of them.

    Returns:
        Seconds, and the standard deviation of their logarithm, q each.
    """
    at = np.array(asked, dtype=float)
    modelled = np.array([step_seconds(fitted.model, k, m, n, s) for k, n, m, s in asked])
    doubt = _doubts(fitted, at)
    if not observations:
        return modelled, doubt
    seen = np.array(
        [(o.workers, o.nodes, o.examples_per_worker, o.accumulation) for o in observations], float
    )
    off = np.array([_log_off(fitted, o) for o in observations])
    weight = np.array([o.weight for o in observations])
    seen_doubt = _doubts(fitted, seen)
    prior = _alike(seen, seen) * np.outer(seen_doubt, seen_doubt)
    noise = STEP_SPREAD**2 / weight + LEAST_SPREAD**2
    shared = _alike(at, seen) * np.outer(doubt, seen_doubt)
    pull = np.linalg.solve(prior + np.diag(noise), shared.T).T
    left = np.maximum(doubt**2 - (pull * shared).sum(axis=1), LEAST_SPREAD**2)
    return modelled * np.exp(pull @ off), np.sqrt(left)


def _log_off(fitted: Fitted, seen: Observation) -> float:
    modelled = step_seconds(
        fitted.model, seen.workers, seen.examples_per_worker, seen.nodes, seen.accumulation
    )
    return math.log(seen.step_seconds / modelled)


def _doubts(fitted: Fitted, at: Floats) -> Floats:
    """What the model's own interval says, before any correction."""
    found = []
    for k, n, m, s in at.tolist():
        of = interval(fitted, int(k), m, int(n), int(s))
        found.append(math.log(of.high / of.expected) / IN_80)
    doubts: Floats = np.maximum(np.array(found), LEAST_DOUBT)
    return doubts


def _alike(one: Floats, other: Floats) -> Floats:
    """Correlation of what the model is off by: one × other."""
    doublings = np.abs(np.log2(one[:, None, :]) - np.log2(other[None, :, :]))
    several = (one[:, None, 1] > 1) != (other[None, :, 1] > 1)
    alike: Floats = np.exp(
        -doublings[:, :, 0] / ALIKE_WORKERS - doublings[:, :, 2] / ALIKE_EXAMPLES
    )
    return alike * np.where(several, ALIKE_NODES, 1.0)
