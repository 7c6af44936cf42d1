"""Whether a candidate takes the champion's place: pure.

A candidate has to be better on the same examples by more than chance explains, by the task's own
test of two models. It is one-sided, at 2.5 %, shared among all candidates that were looked at,
since the best of several wins by luck more often than one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tally.tasks.task import Array, Task

CHANCE = 0.025  # of promoting a candidate that is no better


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
        records: how good its answer to each test example is, as the task's measure has it.
        bytes, latency_seconds, usd_per_million: as Limits.
    """

    name: str
    records: Array
    bytes: int
    latency_seconds: float
    usd_per_million: float


@dataclass(frozen=True)
class Verdict:
    """What became of it.

    Attributes:
        promote: whether the candidate is to be champion.
        candidate: its name; "" where none is within the limits.
        reason: one sentence with the figures.
        difference: the candidate's headline less the champion's; None without a champion.
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
    task: Task,
    contenders: Sequence[Contender],
    champion: Array | None,
    limits: Limits,
    margin: float = 0.0,
) -> Verdict:
    """Choose a contender and say whether it is to be champion.

    The choice is the smallest of those within the limits that are nearly as good as the best of
    them (`task.nearly`).

    Args:
        task: what they have learned.
        contenders: on the same examples; their order does not matter.
        champion: its records of the same examples; None where there is no champion yet.
        limits: that a champion has to keep.
        margin: of the headline, by which it has to be better, beyond chance.
    """
    refused = {c.name: why for c in contenders if (why := _beyond(c, limits))}
    within = [c for c in contenders if c.name not in refused]
    if not within:
        told = "; ".join(refused[name] for name in sorted(refused)) or "no candidate was made"
        return Verdict(False, "", f"not promoted: {told}")
    good = {c.name: task.headline.better(task.value(c.records)) for c in within}
    near = [c for c in within if good[c.name] >= max(good.values()) - task.nearly]
    chosen = min(near, key=lambda c: (c.bytes, -good[c.name], c.name))
    if champion is None:
        told = task.headline.told(task.value(chosen.records))
        return Verdict(True, chosen.name, f"promoted: {chosen.name} is the first champion, {told}")
    return _against(task, chosen, champion, margin, len(within))


def _against(
    task: Task, chosen: Contender, champion: Array, margin: float, looked_at: int
) -> Verdict:
    """The chosen beside the champion."""
    headline, found = task.headline, task.paired(chosen.records, champion)
    low, high = sorted(headline.better(bound) for bound in found.interval)
    both = (f"{100 * bound:+.2f}" if headline.share else f"{bound:+.4g}" for bound in (low, high))
    gain = headline.better(found.difference)
    beside = (
        f"{chosen.name} has {headline.told(task.value(chosen.records))}, the champion "
        f"{headline.plain(task.value(champion))}: {headline.apart(gain)} ({' to '.join(both)})"
    )
    if gain == 0:
        why = "no better"
    elif gain < 0:
        surely = task.paired(champion, chosen.records).p_value <= CHANCE
        why = f"worse by {'' if surely else 'no '}more than chance explains"
    elif found.p_value > CHANCE / looked_at:
        why = "better by no more than chance explains"
    elif low <= margin and margin > 0:
        more = f"{100 * margin:g} points more" if headline.share else f"{margin:g} better"
        why = f"not surely {more}"
    else:
        why = ""
    reason = f"not promoted: {beside}, {why}" if why else f"promoted: {beside}"
    return Verdict(not why, chosen.name, reason, found.difference, found.interval, found.p_value)


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
