"""Which size a run goes on at, from what it has shown so far. Pure.

Observed are steps (as a fitted model and, where a size has run, by how much the model is off
there), the noise scale, dollars and progress. Decided is the first size of the sequence that costs
least in total. Changes are planned with 1.5 × the restart that was measured, which is all the
hysteresis there is: a margin on totals makes a plan that looks ahead put off what pays.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tally.errors import SpecError
from tally.scaling.forecast import CASES, STEEPER, NoiseSeen, forecast
from tally.scaling.objective import Objective
from tally.scaling.planning import Course, Plans, programme, totals, within_limits
from tally.scaling.reasons import Leg, Stop, Weighed, explain
from tally.scaling.seen import Decision, Seen
from tally.scaling.sizes import Floats, Offer, Size, Sizes, noise_table, tabulate

__all__ = ["Decision", "Objective", "Offer", "Seen", "Size", "decide"]

STRETCHES = 32  # of what remains, shorter ones first
EDGES = np.linspace(0, 1, STRETCHES + 1) ** 1.5
KNOWN_AFTER = 1.5  # progress, against now, by which a trend of the noise scale has shown itself
RESTART_MARGIN = 1.5
LIMITED_MARGIN = 0.01  # of what is minimised under a limit: mixtures of sizes are worth the same
SAME_BATCH = 0.005  # goodput that is not worth another batch
UNSURE = 0.23  # standard deviation of the noise slope over the batch above which a batch is tried
TRIAL = 1.5  # × the best batch's time at most


def decide(
    seen: Seen, offers: Sequence[Offer], objective: Objective, batches: Sequence[int]
) -> Decision:
    """The size to go on at.

    Args:
        seen: past observations.
        offers: what can be had now, within the user's minimum and maximum and the quota.
        objective: what to be best at; its budget and deadline hold for each kind.
        batches: global batches that may be used, each the base batch or more.

    Raises:
        SpecError: no batch, a batch below the base batch, or no size that can be used.
    """
    if not batches or min(batches) < seen.base_batch:
        raise SpecError(
            f"policy: expected batches of {seen.base_batch} or more, got {list(batches)}; "
            "pass the base batch or larger ones"
        )
    sizes = tabulate(offers, batches, seen.fitted, seen.observed, seen.restart_seconds, seen.shards)
    shares, seconds, best = _ahead(seen, sizes)
    course = Course(
        CASES,
        seconds,
        sizes.usd_per_second,
        sizes.doubt[np.arange(len(sizes.workers)), best[STRETCHES // 2]],
        RESTART_MARGIN * seen.restart_seconds,
        _known_from(seen),
        _index(sizes, seen.now),
    )
    plans, chosen = _choose(course, objective, seen.spent_usd)
    legs = _legs(sizes, plans.sizes[chosen], best, shares)
    weighed = _weighed(seen, objective, course, plans, chosen, legs)
    stop = _stop(seen, objective, sizes, weighed)
    saved_usd, saved_seconds = weighed.saving
    if objective.kind == "balanced":
        saved_usd += saved_seconds * objective.usd_per_second
    return Decision(
        size=legs[0].size,
        reason=explain(weighed, objective, stop),
        predicted_seconds=weighed.seconds,
        predicted_usd=weighed.usd,
        saving_usd=saved_usd,
        saving_seconds=saved_seconds,
        stop=stop,
        met=weighed.met,
        plan=legs,
    )


def _index(sizes: Sizes, now: Size | None) -> int | None:
    return None if now is None else sizes.indexes.get((now.machine_type, now.workers), -1)


def _known_from(seen: Seen) -> int:
    """The stretch by which progress has grown so much that the noise scale has shown its trend."""
    done = max(seen.progress_examples, 1.0)
    share = min((KNOWN_AFTER - 1) * done / seen.remaining_progress_examples, 1.0)
    return 1 + int(np.searchsorted(EDGES[1:], share))


def _ahead(seen: Seen, sizes: Sizes) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Of each stretch: share of what remains (t), seconds (cases × t × n), best batch (t × n)."""
    shares = np.diff(EDGES)
    middles = (EDGES[1:] + EDGES[:-1]) / 2 * seen.remaining_progress_examples
    around = sizes.batches[0] if seen.now is None else seen.now.batch_size
    noise = list(seen.noise)
    if not noise and seen.noise_scale_examples is not None:
        progress = max(seen.progress_examples, 1.0)
        noise = [NoiseSeen(progress, around, seen.noise_scale_examples)]
    expected = forecast(noise, around)
    table = noise_table(expected, seen.progress_examples + middles, sizes.batches)
    examples = shares * seen.remaining_progress_examples
    seconds = sizes.stretch_seconds(table, seen.base_batch, examples)
    best = seconds.argmin(axis=3)
    at = _index(sizes, seen.now)
    if seen.now is not None and at is not None and at >= 0 and around in sizes.batches:
        kept = sizes.batches.index(around)
        same = seconds[:, :, at, kept] <= seconds[:, :, at].min(axis=2) * (1 + SAME_BATCH)
        best[:, :, at] = np.where(same, kept, best[:, :, at])
    taken = np.take_along_axis(seconds, best[..., None], axis=3)[..., 0]
    if at is not None and at >= 0 and expected is not None and expected.slope_spread > UNSURE:
        best[0, 0, at] = _tried(seconds[:, 0, at])
    return shares, taken, best[0]


def _tried(seconds: Floats) -> int:
    """The batch that would be best if the noise scale grew most with it (cases × batches).

    Another batch costs no restart, and what it shows is where the slope is learned from.
    """
    hoped = int(seconds[STEEPER].argmin())
    return hoped if seconds[0, hoped] <= TRIAL * seconds[0].min() else int(seconds[0].argmin())


def _choose(course: Course, objective: Objective, spent_usd: float) -> tuple[Plans, int]:
    """Plans, and which of them is the best within the limits, or nearest to them."""
    per_usd, per_second = objective.usd_per_usd, objective.usd_per_second
    if not objective.limited:
        found = programme(course, np.array([per_usd]), np.array([per_second]))
        if course.now is not None and course.now >= 0:
            found = np.vstack([found, np.full_like(found, course.now)])
        plans = totals(course, found)
        return plans, int((per_usd * plans.usd + per_second * plans.seconds).argmin())
    plans = within_limits(course)
    usd_left = max(objective.usd_left(spent_usd), 1e-9)
    seconds_left = max(objective.seconds_left, 1e-9)
    over = np.maximum(plans.usd / usd_left, plans.seconds / seconds_left)
    if over.min() > 1:  # where only luck can keep the limit, a plan that needs luck
        low = np.maximum(plans.usd_low / usd_left, plans.seconds_low / seconds_left)
        return plans, int(np.where(low <= max(low.min(), 1.0), over, np.inf).argmin())
    over = np.maximum(plans.usd_high / usd_left, plans.seconds_high / seconds_left)
    score = per_usd * plans.usd + per_second * plans.seconds
    if over.min() > 1:
        return plans, int(over.argmin())
    score = np.where(over <= 1, score, np.inf)
    best = int(score.argmin())
    half = int(np.searchsorted(EDGES, 0.5))  # a shorter stay would put off what pays
    keeps = (plans.sizes[:, :half] == (-1 if course.now is None else course.now)).all(axis=1)
    stay = np.where(keeps, score, np.inf)
    near = int(stay.argmin())
    return plans, near if stay[near] < (1 + LIMITED_MARGIN) * score[best] else best


def _legs(
    sizes: Sizes, plan: NDArray[np.int64], best: NDArray[np.int64], shares: Floats
) -> tuple[Leg, ...]:
    legs: list[Leg] = []
    for i, n in enumerate(plan.tolist()):
        if i and n == plan[i - 1]:
            legs[-1] = Leg(legs[-1].size, legs[-1].share + float(shares[i]))
        else:
            batch = sizes.batches[int(best[i, n])]
            size = Size(sizes.offers[n].machine_type, sizes.workers[n], batch)
            legs.append(Leg(size, float(shares[i])))
    return tuple(legs)


def _weighed(
    seen: Seen,
    objective: Objective,
    course: Course,
    plans: Plans,
    chosen: int,
    legs: tuple[Leg, ...],
) -> Weighed:
    stay = None
    if course.now is not None and course.now >= 0:
        stay = totals(course, np.full((1, STRETCHES), course.now))
    return Weighed(
        now=seen.now,
        legs=legs,
        usd=float(plans.usd[chosen]),
        seconds=float(plans.seconds[chosen]),
        stay_usd=None if stay is None else float(stay.usd[0]),
        stay_seconds=None if stay is None else float(stay.seconds[0]),
        restart_seconds=course.restart_seconds,
        usd_left=objective.usd_left(seen.spent_usd),
        seconds_left=objective.seconds_left,
    )


def _stop(seen: Seen, objective: Objective, sizes: Sizes, weighed: Weighed) -> Stop | None:
    """Whether the next decision would come too late to save a checkpoint within a limit."""
    if seen.now is None:
        return None
    if weighed.seconds_left <= seen.stop_seconds < weighed.seconds:
        return "deadline"
    at = _index(sizes, seen.now)
    rate = float(sizes.usd_per_second[at if at is not None and at >= 0 else 0])
    if weighed.usd_left <= seen.stop_seconds * rate and weighed.usd > weighed.usd_left:
        return "budget"
    return None
