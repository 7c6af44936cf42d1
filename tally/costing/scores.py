"""How far quotes were off once their runs had ended; how wide the next have to be. Pure."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEVEL = 0.8
FEWEST, MANY = 8, 20  # scores before widths grow with them, and before they shrink
NEWEST = 50  # scores that count
NARROWEST, WIDEST = 0.4, 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A quote against the bill of its run; amounts in USD, times in seconds of the wall clock.

    Attributes:
        run_id, pipeline, basis: whose, and where its step time was from.
        width: by which its intervals had been widened.
    """

    run_id: str
    pipeline: str
    basis: str
    quoted_usd: float
    low_usd: float
    high_usd: float
    billed_usd: float
    quoted_seconds: float
    low_seconds: float
    high_seconds: float
    billed_seconds: float
    width: float = 1.0

    @property
    def error_usd(self) -> float:
        """Billed over quoted, less 1."""
        return self.billed_usd / self.quoted_usd - 1 if self.quoted_usd else 0.0

    @property
    def error_seconds(self) -> float:
        """Billed over quoted, less 1."""
        return self.billed_seconds / self.quoted_seconds - 1 if self.quoted_seconds else 0.0

    @property
    def inside_usd(self) -> bool:
        """Whether the bill was within the interval."""
        return self.low_usd <= self.billed_usd <= self.high_usd

    @property
    def inside_seconds(self) -> bool:
        """Whether the wall clock was within the interval."""
        return self.low_seconds <= self.billed_seconds <= self.high_seconds

    @property
    def half_widths(self) -> float:
        """How many of its unwidened half-widths the wall clock was off."""
        off = self.billed_seconds - self.quoted_seconds
        side = self.high_seconds if off > 0 else self.low_seconds
        half = abs(side - self.quoted_seconds) / self.width
        return abs(off) / half if half else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Over many scores; errors are means of absolute ones, covers shares that were inside."""

    runs: int
    error_usd: float
    error_seconds: float
    cover_usd: float
    cover_seconds: float
    median_half_width: float


def summarise(scores: Sequence[Score]) -> Summary | None:
    """What there is to say of these; None of none."""
    if not scores:
        return None
    return Summary(
        runs=len(scores),
        error_usd=statistics.fmean(abs(one.error_usd) for one in scores),
        error_seconds=statistics.fmean(abs(one.error_seconds) for one in scores),
        cover_usd=statistics.fmean(one.inside_usd for one in scores),
        cover_seconds=statistics.fmean(one.inside_seconds for one in scores),
        median_half_width=statistics.median(
            (one.high_seconds - one.low_seconds) / 2 / one.quoted_seconds for one in scores
        ),
    )


def width(scores: Iterable[Score]) -> float:
    """By what the next intervals are widened so that 80 % of bills are inside; 1 while few are
    known.

    Args:
        scores: the newest first.

    The conformal quantile of how many half-widths past quotes were off: with n scores, the
    ⌈0.8 (n + 1)⌉-th smallest. Source: Vovk, Gammerman and Shafer 2005.
    """
    known = [one for one in scores if one.basis != "listed"]  # those are wide anyway
    off = sorted(one.half_widths for one in known[:NEWEST])
    if len(off) < FEWEST:
        return 1.0
    index = min(len(off), -int(-LEVEL * (len(off) + 1) // 1))
    return min(max(off[index - 1], NARROWEST if len(off) >= MANY else 1.0), WIDEST)
