"""Least squares under a step-time model: from rows of measurements to its coefficients. Pure.

Robust (scipy's soft L1 on errors of logarithms), bounded, from several starts, and held by a weak
pull of each coefficient to an anchor: what the rows leave open comes from there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from tally.scaling.stepmodel import MAX_GAMMA, MIN_GAMMA, StepTime, step_seconds, together

Array = NDArray[np.float64]

NOISE = 0.1  # of a logarithm: what steps of one size differ by; beyond it an error counts linearly
REACH = 4  # workers; the least that the two growths are scaled to agree at
SPAN = math.log(1e4)  # how far a coefficient may lie from its anchor
GAMMA_PULL = 3.0
LEAST_SECONDS = 1e-9
LEAST_OWN = 0.005  # of a step: a difference that is less of it is no measurement of a pass
# what is added to the logarithm of growth, an exponent, and whether syncing takes a pass at
# least: a large exponent hides that much, and from the little that is waited for the search ends
# where nothing grows
STARTS = ((0.0, 2.0, False), (1.0, 1.2, False), (-1.0, 5.0, True))


@dataclass(frozen=True, slots=True)
class Rows:
    """Measurements as columns of one length, one row each.

    Attributes:
        workers, nodes, examples, accumulation: the size; examples of the slowest worker a pass.
        step_seconds: measured.
        own_seconds: of it, what no sync accounts for; nan where that was not measured.
        weight: how much a row counts.
    """

    workers: Array
    nodes: Array
    examples: Array
    accumulation: Array
    step_seconds: Array
    own_seconds: Array
    weight: Array

    def where(self, mask: NDArray[np.bool_]) -> "Rows":
        """The rows that the mask has."""
        return Rows(*(getattr(self, name)[mask] for name in self.__slots__))


def reach(rows: Rows) -> int:
    """The workers at which both growths agree: the largest measured, 4 at least."""
    return max(REACH, int(rows.workers.max()))


def growth_terms(workers: Array, at: int) -> tuple[Array, Array]:
    """The ring's and log2's growth from 0 at two workers to 1 at `at` workers."""
    pairs = np.maximum(workers, 2) / 2
    return (1 - 1 / pairs) / (1 - 2 / at), np.log2(pairs) / math.log2(at / 2)


def rough(rows: Rows) -> StepTime:
    """A model of the right magnitude: half a pass is fixed, and sync is what medians say."""
    own = np.where(np.isnan(rows.own_seconds), rows.step_seconds, rows.own_seconds)
    own = own / rows.accumulation
    waits = np.maximum(rows.step_seconds - own * rows.accumulation, 1e-3 * rows.step_seconds)
    gang, across = rows.workers > 1, rows.nodes > 1
    usual = float(np.median(waits[gang] if gang.any() else 0.1 * rows.step_seconds))
    one, several = (
        float(np.median(waits[mask])) if mask.any() else usual
        for mask in (gang & ~across, gang & across)
    )
    return StepTime(
        grad_base_seconds=float(np.median(own)) / 2,
        grad_example_seconds=float(np.median(own / rows.examples)) / 2,
        sync_base_seconds=one,
        sync_growth_seconds=one,
        sync_nodes_base_seconds=several,
        sync_nodes_growth_seconds=several,
        gamma=2.0,
    )


def solve(
    rows: Rows,
    anchor: StepTime,
    pull: float,
    log2_share: float,
    starts: Sequence[tuple[float, float, bool]] = STARTS,
) -> StepTime:
    """The coefficients that fit the rows best.

    Args:
        rows: at least one.
        anchor: where a coefficient lies that the rows do not tell.
        pull: the standard deviation of a coefficient's logarithm around its anchor.
        log2_share: of the growth at the largest size, what grows as log2; the rest as a ring.
        starts: to begin from.
    """
    at = reach(rows)
    ring, log2 = growth_terms(rows.workers, at)
    grown = (1 - log2_share) * ring + log2_share * log2
    centre = packed(anchor, at)
    residuals = _residuals(rows, grown, centre, pull)
    low, high = centre - SPAN, centre + SPAN
    low[6], high[6] = MIN_GAMMA, MAX_GAMMA
    best = None
    own = np.where(np.isnan(rows.own_seconds), rows.step_seconds, rows.own_seconds)
    a_pass = math.log(max(float(np.median(own / rows.accumulation)), LEAST_SECONDS))
    for more, gamma, is_hidden in starts:
        start = centre + np.array([0, 0, 0, more, 0, more, 0])
        start[6] = gamma
        if is_hidden:
            start[[2, 4]] = np.clip(a_pass, start[[2, 4]], high[[2, 4]])
        found = least_squares(residuals, start, bounds=(low, high), loss="soft_l1", max_nfev=200)
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    return unpacked(best.x, log2_share, at)


def _residuals(rows: Rows, grown: Array, centre: Array, pull: float) -> Callable[[Array], Array]:
    """The function of the packed coefficients whose squares are minimised."""
    alone, across = rows.workers < 2, rows.nodes > 1
    timed = rows.own_seconds >= LEAST_OWN * rows.step_seconds
    own = np.log(rows.own_seconds[timed])
    step, scale = np.log(rows.step_seconds), np.sqrt(rows.weight) / NOISE
    spread = np.array([pull] * 6 + [GAMMA_PULL])

    def residuals(packed: Array) -> Array:
        a, b, one, one_more, several, several_more = np.exp(packed[:6])
        grad = a + b * rows.examples
        sync = np.where(across, several * (1 + several_more * grown), one * (1 + one_more * grown))
        sync[alone] = 0.0
        whole = together(grad, sync, float(packed[6]), rows.accumulation)
        passes = (rows.accumulation * grad)[timed]
        return np.concatenate(
            [
                (np.log(whole) - step) * scale,
                (np.log(passes) - own) * scale[timed],
                (packed - centre) / spread,
            ]
        )

    return residuals


def predicted(model: StepTime, rows: Rows) -> Array:
    """Seconds of each row's step as the model has them."""
    sizes = zip(rows.workers, rows.examples, rows.nodes, rows.accumulation, strict=True)
    return np.array([step_seconds(model, int(k), m, int(n), int(s)) for k, m, n, s in sizes])


def packed(model: StepTime, at: int) -> Array:
    """A model as six logarithms and gamma; growth as a share of its base, reached at `at` workers.

    Where the model's base is 0, so that no share of it exists, a ring's is taken: its traffic for
    k workers is 2 (k - 1)/k times the gradients, which is 1 + (1 - 2/k) times that for two.
    """
    w = model.log2_weight
    grown = (1 - w) * (1 - 2 / at) + w * math.log2(at / 2)
    values = [model.grad_base_seconds, model.grad_example_seconds]
    for base, more in (
        (model.sync_base_seconds, model.sync_growth_seconds),
        (model.sync_nodes_base_seconds, model.sync_nodes_growth_seconds),
    ):
        share = more * grown / base if base > LEAST_SECONDS else 1 - 2 / at
        values += [base, max(share, 1e-2)]
    logarithms = [math.log(max(value, LEAST_SECONDS)) for value in values]
    return np.array([*logarithms, model.gamma])


def unpacked(values: Array, log2_share: float, at: int) -> StepTime:
    """The model of `packed` values, its growth in the terms of `growth`."""
    a, b, one, one_more, several, several_more = (math.exp(value) for value in values[:6])
    ring, log2 = (1 - log2_share) / (1 - 2 / at), log2_share / math.log2(at / 2)
    return StepTime(
        grad_base_seconds=a,
        grad_example_seconds=b,
        sync_base_seconds=one,
        sync_growth_seconds=one * one_more * (ring + log2),
        sync_nodes_base_seconds=several,
        sync_nodes_growth_seconds=several * several_more * (ring + log2),
        gamma=float(values[6]),
        log2_weight=log2 / (ring + log2),
    )
