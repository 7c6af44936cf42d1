"""The sequence of sizes with the least expected total cost, restarts included. Pure.

A dynamic programme over the stretches of what remains: the value of being at a size when a stretch
begins is the least of staying and of a restart into any other. It is exact for a weighted sum of
dollars and seconds. Where one of them has a limit, the programme runs for a range of weights, all
plans with at most one change join them, and the best of those within the limit is taken.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_IN_PAIRS = 40  # sizes of which each pair is tried under a limit
CAUTION = 2.56  # standard deviations that a limit is kept with: 99.5 % of normal errors
CHANGES_AT = 8  # stretches at which such a change is tried


@dataclass(frozen=True, slots=True)
class Course:
    """What lies ahead; s cases, t stretches, n sizes.

    Attributes:
        cases: probabilities of what may come, s; the first is what is expected.
        seconds: s × t × n.
        usd_per_second: n.
        doubt: standard deviation of the step time's logarithm, n.
        restart_seconds: what a change of size is planned with.
        known_from: the stretch from which on it is known which case has come, 1 or more.
        now: the index of the present size, -1 for one that cannot be kept, None before the start.
    """

    cases: Floats
    seconds: Floats
    usd_per_second: Floats
    doubt: Floats
    restart_seconds: float
    known_from: int
    now: int | None

    @property
    def risk(self) -> Floats:
        """High ÷ expected step time, n."""
        risk: Floats = np.exp(CAUTION * self.doubt)
        return risk


@dataclass(frozen=True, slots=True)
class Plans:
    """p plans: the size in each stretch (p × t), and totals (p): low, expected, high.

    Low is the best case; high the worst with the doubts of step times.
    """

    sizes: Ints
    usd_low: Floats
    seconds_low: Floats
    usd: Floats
    seconds: Floats
    usd_high: Floats
    seconds_high: Floats


def programme(course: Course, per_usd: Floats, per_second: Floats) -> Ints:
    """The plan with the least expected weighted sum, for w weights: w × t.

    Which case comes is known from stretch `known_from` on: before it, the mean of all cases counts,
    and the sizes are those from which each case is answered well; after it, the plan that is given
    answers what is expected.

    Args:
        course: what lies ahead.
        per_usd: weights of a dollar, w.
        per_second: weights of a second, w.
    """
    s, t, n = course.seconds.shape
    rate = per_usd[:, None] * course.usd_per_second + per_second[:, None]  # w × n
    rate = rate[:, None, :]  # w × s × n
    restart = rate * course.restart_seconds
    value = np.zeros((len(per_usd), s, n))
    moves = np.empty((t, len(per_usd), n), dtype=np.int64)
    own = np.arange(n)
    mean = np.einsum("s,stn->tn", course.cases, course.seconds)
    for i in range(t - 1, 0, -1):
        if i == course.known_from - 1:
            value = np.einsum("s,wsn->wn", course.cases, value)[:, None]
        some = course.seconds[:, i] if i >= course.known_from else mean[i]
        stay = rate * some + value
        enter = restart + stay
        best = enter.argmin(axis=2)[:, :, None]
        least = np.take_along_axis(enter, best, axis=2)
        moves[i] = np.where(stay <= least, own, best)[:, 0]
        value = np.minimum(stay, least)
    if course.known_from == 1:
        value = np.einsum("s,wsn->wn", course.cases, value)[:, None]
    first = (rate * mean[0] + value)[:, 0]
    if course.now is not None:
        first = first + restart[:, 0] * (own != course.now)
    plans = np.empty((len(per_usd), t), dtype=np.int64)
    plans[:, 0] = at = first.argmin(axis=1)
    for i in range(1, t):
        plans[:, i] = at = moves[i][np.arange(len(per_usd)), at]
    return plans


def one_change(course: Course, among: Ints) -> Ints:
    """All plans of one size, and of one of these sizes after another: p × t."""
    t = course.seconds.shape[1]
    first, second = (g.ravel() for g in np.meshgrid(among, among, indexing="ij"))
    ats = np.unique(np.linspace(0, t, CHANGES_AT + 1)[1:].astype(np.int64))
    later = np.arange(t) >= ats[:, None]  # changes × t
    plans = np.where(later[:, None, :], second[None, :, None], first[None, :, None])
    return np.unique(plans.reshape(-1, t), axis=0)


def totals(course: Course, sizes: Ints) -> Plans:
    """Dollars and seconds of plans (p × t)."""
    before = np.empty_like(sizes)
    before[:, 1:] = sizes[:, :-1]
    before[:, 0] = sizes[:, 0] if course.now is None else course.now
    at = np.arange(sizes.shape[1])
    work = course.seconds[:, at, sizes]  # s × p × t
    pause = (before != sizes) * course.restart_seconds
    rate, risk = course.usd_per_second[sizes], course.risk[sizes]
    seconds, high = work + pause, work * risk + pause
    return Plans(
        sizes,
        (seconds * rate).sum(axis=2).min(axis=0),
        seconds.sum(axis=2).min(axis=0),
        course.cases @ (seconds * rate).sum(axis=2),
        course.cases @ seconds.sum(axis=2),
        (high * rate).sum(axis=2).max(axis=0),
        high.sum(axis=2).max(axis=0),
    )


def within_limits(course: Course) -> Plans:
    """Plans among which one is sought that keeps a limit: fast ones, cheap ones and all between."""
    rate = course.usd_per_second
    scale = max(float(rate.max()), 1e-12)
    per_second = np.concatenate([[0.0], scale * np.geomspace(1e-3, 1e3, 25)])
    careful = replace(course, seconds=course.seconds * course.risk)
    per_usd = np.append(np.ones_like(per_second), 1e-6)
    per_second = np.append(per_second + 1e-9 * scale, scale)
    found = np.vstack([programme(c, per_usd, per_second) for c in (course, careful)])
    worth = [_worth(seconds, seconds * rate) for seconds in course.seconds.sum(axis=1)]
    among = np.unique(np.concatenate([found.ravel(), *worth]))[:MOST_IN_PAIRS]
    return totals(course, np.unique(np.vstack([found, one_change(course, among)]), axis=0))


def _worth(seconds: Floats, usd: Floats) -> Ints:
    """Sizes than which no other is both faster and cheaper."""
    order = np.argsort(seconds)
    worth: Ints = order[usd[order] <= np.minimum.accumulate(usd[order])]
    return worth
