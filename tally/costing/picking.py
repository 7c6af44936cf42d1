"""Which size a quote picks for the user's objective, and why; or that nothing meets it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from tally.costing.quote import Row
from tally.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the user allows.

    Attributes:
        objective: balanced, deadline or budget.
        budget_usd: that may still be spent; None for no limit.
        deadline_seconds: until training has to be done; None for no limit.
        allow_listed: whether a size that nothing was measured of may be taken over a measured one.
    """

    objective: str = "balanced"
    budget_usd: float | None = None
    deadline_seconds: float | None = None
    allow_listed: bool = False


def pick(rows: Sequence[Row], limits: Limits) -> tuple[Row, str]:
    """The size to begin with, and one sentence that says why.

    Args:
        rows: all sizes; those that are excluded or not allowed are passed over.
        limits: the user's.

    Raises:
        SpecError: no size can be, or none meets budget and deadline; the nearest is named.
    """
    possible = [row for row in rows if row.candidate.allowed and not row.candidate.excluded]
    if not possible:
        raise SpecError(_nothing_fits(rows))
    if not limits.allow_listed:
        known = [row for row in possible if row.candidate.basis != "listed"]
        possible = known or possible
    within = _within(possible, limits)
    match limits.objective:
        case "deadline":
            best = _surely(within, limits) or _fastest(within)
            why = f"{best.name} is the cheapest that is done in time"
        case "budget":
            best = _surely_fastest(within, limits) or _cheapest(within)
            why = f"{best.name} is the fastest within ${limits.budget_usd or 0.0:.4g}"
        case _:
            best = _surely(within, limits) or _cheapest(within)
            why = f"{best.name} has the least total of hardware, software and your time"
    if len(possible) == 1:
        why = f"{best.name} is the only size that was asked for"
    if _doubtful(best, limits):
        why += "; by its high end it would miss the limit"
    if best.candidate.basis == "listed":
        why += "; nothing was measured of it"
    return best, why


def _within(rows: Sequence[Row], limits: Limits) -> list[Row]:
    """Those whose low end keeps every limit.

    Raises:
        SpecError: none does.
    """
    budget, left = limits.budget_usd, limits.deadline_seconds
    affordable = [row for row in rows if budget is None or row.usd.low <= budget]
    if not affordable:
        nearest = min(rows, key=lambda row: row.usd.low)
        raise SpecError(
            f"budget_usd: expected at least ${nearest.usd.low:.4g} (the low end of the cheapest, "
            f"{nearest.name}), got ${budget:.4g}; pass "
            f'SET="budget_usd={_rounded_up(nearest.usd.high)}" or fewer epochs'
        )
    found = [row for row in affordable if left is None or row.trained_seconds.low <= left]
    if not found:
        nearest = min(affordable, key=lambda row: row.trained_seconds.low)
        within = " within the budget" if len(affordable) < len(rows) else ""
        raise SpecError(
            f"deadline: expected at least {nearest.trained_seconds.low:.0f} s from now (the low "
            f"end of the fastest{within}, {nearest.name}), got {left:.0f} s; pass "
            f'SET="deadline={max(1, round(nearest.trained_seconds.high + 0.5))}s" or fewer epochs'
        )
    return found


def _surely(rows: Sequence[Row], limits: Limits) -> Row | None:
    """The cheapest of those whose high end keeps the limits."""
    return _cheapest_or_none([row for row in rows if not _doubtful(row, limits)])


def _surely_fastest(rows: Sequence[Row], limits: Limits) -> Row | None:
    sure = [row for row in rows if not _doubtful(row, limits)]
    return _fastest(sure) if sure else None


def _doubtful(row: Row, limits: Limits) -> bool:
    over = limits.budget_usd is not None and row.usd.high > limits.budget_usd
    left = limits.deadline_seconds
    return over or (left is not None and row.trained_seconds.high > left)


def _cheapest_or_none(rows: Sequence[Row]) -> Row | None:
    return _cheapest(rows) if rows else None


def _cheapest(rows: Sequence[Row]) -> Row:
    return min(rows, key=lambda row: (row.usd.expected, row.seconds.expected))


def _fastest(rows: Sequence[Row]) -> Row:
    return min(rows, key=lambda row: (row.trained_seconds.expected, row.usd.expected))


def _nothing_fits(rows: Sequence[Row]) -> str:
    reasons = [row for row in rows if row.candidate.excluded and row.candidate.allowed]
    if not reasons:
        return "quote: expected a size that the run may have, got none; pass other workers"
    nearest = reasons[-1]
    return (
        f"quote: expected a size that can train this, got none: {nearest.name} "
        f"{nearest.candidate.excluded}; pass a smaller batch_size or another machine_type"
    )


def _rounded_up(amount: float) -> str:
    """Two digits, not below the amount."""
    places = 2
    while amount > 0 and amount < 10 ** (1 - places):
        places += 1
    step = 10.0**-places
    return f"{(int(amount / step) + 1) * step:.{places}f}"
