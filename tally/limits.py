"""Limits as users write them: costs, moments, values of pixels. Pure."""

import datetime
import math
import re
from dataclasses import dataclass

from tally.errors import SpecError

_SPAN = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?"
)
_UNITS = (86_400.0, 3600.0, 60.0, 1.0)
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Deadline:
    """When training has to be done: `seconds` from submit, or at `at_microseconds` (UTC)."""

    seconds: float | None = None
    at_microseconds: int | None = None

    def seconds_left(self, begun_microseconds: int, now_microseconds: int) -> float:
        """From now, for a run that began then; negative once it has passed."""
        at = self.at_microseconds
        if at is None:
            at = begun_microseconds + round((self.seconds or 0.0) * _MICROSECONDS)
        return (at - now_microseconds) / _MICROSECONDS


def budget_usd(text: str) -> float | None:
    """`"2.50"` → 2.5; "" → None.

    Raises:
        SpecError: no amount above 0.
    """
    if not text.strip():
        return None
    try:
        amount = float(text.strip().removeprefix("$"))
    except ValueError:
        amount = math.nan
    if not 0 < amount < math.inf:
        raise SpecError(
            f'budget_usd must be more than 0 (US dollars), got {text}; pass SET="budget_usd=5" or '
            "leave it out for no limit"
        )
    return amount


def pixel_range(text: str) -> tuple[float, float] | None:
    """`"0..4095"` → (0.0, 4095.0); "" → None.

    Raises:
        SpecError: no two numbers, the lower first.
    """
    if not text.strip():
        return None
    try:
        low, high = (float(end) for end in text.split(".."))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise SpecError(
            f"range must be LOW..HIGH (values of pixels, the lower first), got {text}; pass "
            'SET="range=0..4095" or leave it out'
        )
    return low, high


def instant(text: str) -> int | None:
    """`"2026-12-24T18:00Z"` → microseconds since 1970 (UTC); "" → None.

    Raises:
        SpecError: no moment.
    """
    if not text.strip():
        return None
    try:
        found = moment(text)
    except SpecError:
        found = None
    if found is None or found.at_microseconds is None:
        raise SpecError(
            f"snapshot must be a moment, got {text}; pass "
            'SET="snapshot=2026-12-24T18:00Z" or leave it out'
        )
    return found.at_microseconds


def moment(text: str) -> Deadline | None:
    """`"2h30m"` or `"2026-12-24T18:00Z"`; "" → None. A moment without a zone is UTC.

    Raises:
        SpecError: neither, or no time at all.
    """
    text = text.strip()
    if not text:
        return None
    if match := _SPAN.fullmatch(text):
        seconds = sum(
            float(count) * unit
            for count, unit in zip(match.groups(), _UNITS, strict=True)
            if count is not None
        )
        if seconds > 0:
            return Deadline(seconds=seconds)
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise SpecError(
            "deadline must be a time from submit (90m, 2h30m) or a moment (2026-12-24T18:00Z), "
            f'got {text}; pass SET="deadline=2h"'
        ) from error
    at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return Deadline(at_microseconds=round(at.timestamp() * _MICROSECONDS))


def require_time(text: str, begun_microseconds: int, now_microseconds: int) -> None:
    """Refuse a deadline that has passed.

    Raises:
        SpecError: it has.
    """
    found = moment(text)
    if found is not None and found.seconds_left(begun_microseconds, now_microseconds) <= 0:
        raise SpecError(
            f"deadline: expected a moment that is to come, got {text}, which has passed; pass "
            'SET="deadline=2h" for two hours from now'
        )
