"""Figures in words: durations, counts, shares and dollars as people read them."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tally.tasks import reading
from tally.tasks.sections import Form
from tally.tasks.sections import percent as percent
from tally.tasks.task import Headline, Kind

UNCONFIRMED = "Some usage is estimated: no record of the machine's own confirms it."


def usd(amount: Decimal | float, decimals: int | None = None) -> str:
    """Dollars: cents from a dollar up, else three significant figures (`$0.00172`).

    Args:
        amount: dollars.
        decimals: places after the point; None chooses by the amount.
    """
    value = Decimal(str(amount))
    places = decimals_for(value) if decimals is None else decimals
    return f"{'−' if value < 0 else ''}${abs(value):,.{places}f}"


def decimals_for(amount: Decimal | float) -> int:
    """Places after the point that leave an amount three significant figures; 2 to 12."""
    size = abs(float(amount))
    if size == 0 or size >= 1:
        return 2
    return min(12, max(2, 2 - math.floor(math.log10(size))))


def duration(seconds: float) -> str:
    """`0.4 s`, `12.3 s`, `4 min 05 s`, `3 h 07 min`, `2 d 04 h`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 1440:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def count(number: float) -> str:
    """A whole number with thousands apart: `28,740`."""
    return f"{round(number):,}"


def short(number: float) -> str:
    """A number for an axis: `0.25`, `12`, `24k`, `1.5M`."""
    size = abs(number)
    for unit, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{number / unit:.4g}{word}"
    return f"{number:.4g}"


def measured(kind: Kind | Headline, value: float) -> str:
    """What evaluate measured: a share in percent, another in four figures."""
    return percent(value) if kind.share else f"{value:.4g}"


def finely(kind: Kind | Headline, value: float) -> str:
    """As `measured`, a share to a hundredth of a percent."""
    return percent(value, 2) if kind.share else f"{value:.4g}"


def written(form: Form, value: float) -> str:
    """A figure as a task wants it written."""
    if form == "count":
        return count(value)
    if form in ("share", "fine share"):
        return percent(value, 2 if form == "fine share" else 1)
    return f"{value:.4f}" if form == "four places" else f"{value:.4g}"


def result_of(measures: Mapping[str, float], words: Mapping[str, Any]) -> str:
    """The one measure that a run's model is known by; "" where nothing was evaluated.

    Args:
        measures: of the run.
        words: of the run, as RunRecord says.
    """
    headline = reading.words(words, measures).headline
    if headline.name not in measures:
        return ""
    value = headline.plain(measures[headline.name])
    return value if headline.share else f"{headline.title} {value}"


def moment(microseconds: int) -> str:
    """`2026-03-01 14:05:09 UTC`."""
    return f"{datetime.fromtimestamp(microseconds / 1e6, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


def per_example(amount: Decimal) -> tuple[str, str]:
    """A cost an example as a readable figure and its unit: `("$0.124", "a million examples")`."""
    for factor, word in ((1, "an example"), (1000, "1,000 examples")):
        if amount * factor >= Decimal("0.01"):
            return usd(amount * factor), word
    return usd(amount * 1_000_000), "a million examples"


def clip(text: str, length: int) -> str:
    """At most `length` characters, the last an ellipsis where something was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"


def platform(seconds: float, wall_seconds: float) -> str:
    """How much of a run's time no step of it was there."""
    share = percent(seconds / wall_seconds)
    return (
        f"{duration(seconds)} of the time ({share}) the platform's: drivers, waiting between steps"
    )
