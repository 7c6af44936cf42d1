"""Whether a candidate takes the champion's place: pure.

A candidate has to be better on the same examples by more than chance explains. Two models that err
on different examples are compared by those alone (McNemar): if both are equally good, each such
example is a fair coin. The test is exact, one-sided, at 2.5 %, shared among all candidates that
were looked at, since the best of several wins by luck more often than one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tally.data.content import Array

CHANCE = 0.025  # of promoting a candidate that is no better
NEARLY = 0.005  # accuracy that a smaller candidate may lack beside the best


@dataclass(frozen=True)
class Limits:
    """What the user set; None is no limit.

    Attributes:
        bytes: of the .tflite file.
        latency_seconds: median of one example at a time.
        usd_per_million: predictions, at batch 1.
    """

    bytes: int | None = None
    latency_seconds: float | None = None
    usd_per_million: float | None = None


@dataclass(frozen=True)
class Contender:
    """A candidate that was made and measured.

    Attributes:
        name: of its recipe.
        right: bool (n,), which test examples it classified right.
        bytes, latency_seconds, usd_per_million: as Limits.
    """

    name: str
    right: Array
    bytes: int
    latency_seconds: float
    usd_per_million: float

    @property
    def accuracy(self) -> float:
        """Share of the test examples that it has right."""
        return float(np.mean(self.right))


@dataclass(frozen=True)
class Verdict:
    """What became of it.

    Attributes:
        promote: whether the candidate is to be champion.
        candidate: its name; "" where none is within the limits.
        reason: one sentence with the figures.
        difference: accuracy of the candidate less the champion's; None without a champion.
        interval: 95 % of that difference.
        p_value: how often a candidate that is no better does as well; None without a champion.
    """

    promote: bool
    candidate: str
    reason: str
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As evaluation.json has it."""
        return asdict(self)


def decide(
    contenders: Sequence[Contender],
    champion_right: Array | None,
    limits: Limits,
    margin: float = 0.0,
) -> Verdict:
    """Choose a contender and say whether it is to be champion.

    The choice is the smallest of those within the limits that are at most half a point of accuracy
    below the best of them.

    Args:
        contenders: on the same examples; their order does not matter.
        champion_right: bool (n,) of the same examples; None where there is no champion yet.
        limits: that a champion has to keep.
        margin: accuracy by which it has to be better, beyond chance.
    """
    refused = {c.name: why for c in contenders if (why := _beyond(c, limits))}
    within = [c for c in contenders if c.name not in refused]
    if not within:
        told = "; ".join(refused[name] for name in sorted(refused)) or "no candidate was made"
        return Verdict(False, "", f"not promoted: {told}")
    best = max(c.accuracy for c in within)
    near = [c for c in within if c.accuracy >= best - NEARLY]
    chosen = min(near, key=lambda c: (c.bytes, -c.accuracy, c.name))
    if champion_right is None:
        reason = f"promoted: {chosen.name} is the first champion, {chosen.accuracy:.2%} right"
        return Verdict(True, chosen.name, reason)
    return _against(chosen, champion_right, margin, len(within))


def _against(chosen: Contender, champion_right: Array, margin: float, looked_at: int) -> Verdict:
    """The chosen beside the champion."""
    from scipy.stats import binomtest

    right, held = np.asarray(chosen.right, bool), np.asarray(champion_right, bool)
    gained, lost = int((right & ~held).sum()), int((~right & held).sum())
    difference = (gained - lost) / len(right)
    low, high = paired_interval(gained, lost, len(right))
    p_value = 1.0
    if gained + lost:
        p_value = float(binomtest(gained, gained + lost, alternative="greater").pvalue)
    level = CHANCE / looked_at
    beside = (
        f"{chosen.name} has {right.mean():.2%} right, the champion {held.mean():.2%}: "
        f"{100 * difference:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
    )
    if p_value > level or difference <= 0:
        promote, reason = False, f"not promoted: {beside}, which chance explains"
    elif low <= margin and margin > 0:
        promote, reason = False, f"not promoted: {beside}, not surely {100 * margin:g} points more"
    else:
        promote, reason = True, f"promoted: {beside}"
    return Verdict(promote, chosen.name, reason, difference, (low, high), p_value)


def paired_interval(gained: int, lost: int, count: int) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same examples.

    Args:
        gained, lost: examples that only the first, or only the second, has right.
        count: of all examples.

    Source: Agresti and Min, Statistics in Medicine 2005: a Wald interval with half an example added
    to each cell, near its nominal cover for small counts too.
    """
    n, b, c = count + 2.0, gained + 0.5, lost + 0.5
    middle = (b - c) / n
    half = 1.959964 * np.sqrt(max((b + c) / n - middle**2, 0.0) / n)
    return max(-1.0, float(middle - half)), min(1.0, float(middle + half))


def _beyond(contender: Contender, limits: Limits) -> str:
    """Which limits the contender is above, in words; "" for none."""
    found = []
    if limits.bytes is not None and contender.bytes > limits.bytes:
        found.append(f"{contender.bytes:,} bytes, above {limits.bytes:,}")
    if limits.latency_seconds is not None and contender.latency_seconds > limits.latency_seconds:
        took, most = contender.latency_seconds * 1e3, limits.latency_seconds * 1e3
        found.append(f"{took:.3g} ms an example, above {most:.3g}")
    if limits.usd_per_million is not None and contender.usd_per_million > limits.usd_per_million:
        found.append(
            f"${contender.usd_per_million:.3g} a million, above ${limits.usd_per_million:.3g}"
        )
    return f"{contender.name} has {' and '.join(found)}" if found else ""
