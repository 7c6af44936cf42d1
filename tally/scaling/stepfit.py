"""From observed steps to a step-time model and to what it can be wrong by. Pure.

Which growth the sync term has is chosen from the rows alone: beginning from halves of a ring's and
log2's, scaled to agree at the largest size that was seen, as far as smaller sizes' forecasts of
larger ones tell the two apart. Such forecasts' errors are the interval's width as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tally.errors import SpecError
from tally.scaling.forecasts import HALF, Errors, forecasts, log2_share_of, spread
from tally.scaling.stepmodel import StepTime, check_size, step_seconds
from tally.scaling.stepsolve import Rows, predicted, rough, solve

# standard deviations of a coefficient's logarithm around a prior, and around medians of the rows
PRIOR_PULL, ROUGH_PULL = 1.0, 2.0
WITHIN_80 = 1.61  # 80 % of errors are below this many mean errors, of a normal as of a Laplace law
UNSEEN_ERROR = 0.165  # mean, of a logarithm: an 80 % interval of -23 to +30 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Steps of one size, measured.

    Attributes:
        workers: world size.
        nodes: machines that the workers were on.
        examples_per_worker: examples a pass of the worker that had most of them.
        accumulation: passes a step.
        step_seconds: of one step; the median, where there were many.
        sync_seconds: of that step, waited for others with nothing of its own to compute; None
            where it was not measured.
        weight: how much it counts; 1 is a row whose step varies by a tenth.

    Raises:
        SpecError: a size that no gang has, seconds or weight not above 0, more sync than step.
    """

    workers: int
    examples_per_worker: float
    step_seconds: float
    nodes: int = 1
    accumulation: int = 1
    sync_seconds: float | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_size(self.workers, self.examples_per_worker, self.nodes, self.accumulation)
        for name in ("step_seconds", "weight"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise SpecError(
                    f"observation: expected {name} above 0, got {value}; leave the step out"
                )
        if self.sync_seconds is not None and not 0 <= self.sync_seconds <= self.step_seconds:
            raise SpecError(
                f"observation: expected sync_seconds from 0 to the step's {self.step_seconds:g}, "
                f"got {self.sync_seconds}; pass None where it was not measured"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model with what it is known by.

    Attributes:
        model: the coefficients.
        errors: what forecasts of seen sizes were wrong by.
        most_workers_of_node: the largest size seen on one node; 0 for none with several workers.
        most_workers_of_nodes: the largest size seen on several nodes; 0 for none.
        rows: observations that it was fitted to.
    """

    model: StepTime
    errors: Errors
    most_workers_of_node: int
    most_workers_of_nodes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Range:
    """Seconds: 80 % of steps' medians are expected from `low` to `high`."""

    low: float
    expected: float
    high: float


def fit(observations: Sequence[Observation], prior: StepTime | None = None) -> Fitted:
    """The model of what was observed.

    Args:
        observations: of one training on one machine type, one a size: steps of the same size
            belong into one observation, since each row costs time.
        prior: what closed forms and the catalogue say; it counts where rows are few.

    Raises:
        SpecError: neither an observation nor a prior.

    Source: errors of logarithms and sync beside step time as in Qiao et al., Pollux, OSDI 2021.
    """
    if not observations:
        if prior is None:
            raise SpecError(
                "step time: expected an observation or a prior, got neither; "
                "run a few steps, or name a machine type of the catalogue"
            )
        return Fitted(
            model=prior,
            errors=spread((), (), (), HALF),
            most_workers_of_node=0,
            most_workers_of_nodes=0,
            rows=0,
        )
    rows = columns(observations)
    anchor, pull = (prior, PRIOR_PULL) if prior else (rough(rows), ROUGH_PULL)
    found = forecasts(rows, anchor, pull)
    share = log2_share_of(found)
    model = solve(rows, anchor, pull, share)
    gang, across = rows.workers > 1, rows.nodes > 1
    errors = np.log(predicted(model, rows) / rows.step_seconds)
    return Fitted(
        model=model,
        errors=spread(errors[~gang], errors[gang], found, share),
        most_workers_of_node=int(rows.workers[gang & ~across].max(initial=0)),
        most_workers_of_nodes=int(rows.workers[across].max(initial=0)),
        rows=len(observations),
    )


def interval(
    fitted: Fitted,
    workers: int,
    slowest_examples: float,
    nodes: int = 1,
    accumulation: int = 1,
) -> Range:
    """Seconds a step takes, with the range that 80 % of such steps are in.

    Args and errors: those of `step_seconds`.
    """
    expected = step_seconds(fitted.model, workers, slowest_examples, nodes, accumulation)
    error = fitted.errors.alone
    if workers > 1:
        seen = fitted.most_workers_of_nodes if nodes > 1 else fitted.most_workers_of_node
        farther = math.log2(max(workers / max(seen, 2), 1))
        error = fitted.errors.gang + fitted.errors.doubling * farther
        if not seen:
            error = max(error, UNSEEN_ERROR)
    if not fitted.rows:
        error = max(error, UNSEEN_ERROR)
    factor = math.exp(WITHIN_80 * error)
    return Range(expected / factor, expected, expected * factor)


def columns(observations: Sequence[Observation]) -> Rows:
    """Observations as columns."""
    own = [
        math.nan if seen.sync_seconds is None else seen.step_seconds - seen.sync_seconds
        for seen in observations
    ]
    names = ("workers", "nodes", "examples_per_worker", "accumulation", "step_seconds", "weight")
    taken = {
        name: np.array([getattr(seen, name) for seen in observations], float) for name in names
    }
    return Rows(
        workers=taken["workers"],
        nodes=taken["nodes"],
        examples=taken["examples_per_worker"],
        accumulation=taken["accumulation"],
        step_seconds=taken["step_seconds"],
        own_seconds=np.array(own),
        weight=taken["weight"],
    )
