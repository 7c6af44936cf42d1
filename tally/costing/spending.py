"""What a run has spent, and when it has to end because of it. Pure.

A budget means the total of the run's bill in US dollars: hardware, software and the value of the
time waited, over all its attempts.
"""

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["budget", "deadline"]
SAVING_SECONDS = 1.5  # the step under way, and a small checkpoint on a busy machine
_MICROSECONDS_AN_HOUR = 3.6e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What a run had cost at a moment, and costs an hour from then on.

    Attributes:
        usd: the bill's total by then, over all attempts.
        usd_per_hour: from then on, the value of time included; more rather than less.
        at_microseconds: the moment.
    """

    usd: float
    usd_per_hour: float
    at_microseconds: int

    def usd_at(self, microseconds: int) -> float:
        """The total at another moment, this one or a later."""
        hours = max(0, microseconds - self.at_microseconds) / _MICROSECONDS_AN_HOUR
        return self.usd + self.usd_per_hour * hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run must not exceed; None where there is no limit.

    Attributes:
        budget_usd: of the bill's total over all attempts.
        deadline_microseconds: when training has to be done, UTC.
        saving_seconds: from the order to stop until a checkpoint is there.
        ending_seconds: from then to the end of the bill.
    """

    budget_usd: float | None = None
    deadline_microseconds: int | None = None
    saving_seconds: float = SAVING_SECONDS
    ending_seconds: float = 0.0

    def seconds_left(self, spent: Spending, now_microseconds: int) -> tuple[float, Kind]:
        """Until the order to stop has to be given, 0 or less where it is late, and because of what.

        infinity where no limit can be reached.
        """
        money = time = math.inf
        if self.budget_usd is not None:
            left_usd = self.budget_usd - spent.usd_at(now_microseconds)
            hours = left_usd / spent.usd_per_hour if spent.usd_per_hour else math.inf
            money = (hours if left_usd > 0 else min(hours, 0.0)) * 3600
            money -= self.saving_seconds + self.ending_seconds
        if self.deadline_microseconds is not None:
            time = (self.deadline_microseconds - now_microseconds) / 1e6 - self.saving_seconds
        return (money, "budget") if money <= time else (time, "deadline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What is left of a training that stops before its end.

    Attributes:
        done_examples, total_examples: over all epochs.
        examples_per_second: of late; 0 where it is not known.
        usd_per_hour: what the run costs, the value of time included.
        starting_seconds: from the beginning of an attempt to its first step.
    """

    done_examples: int
    total_examples: int
    examples_per_second: float
    usd_per_hour: float
    starting_seconds: float

    @property
    def examples(self) -> int:
        """That are still to be trained on."""
        return max(0, self.total_examples - self.done_examples)

    @property
    def seconds(self) -> float | None:
        """For the rest, a new start included; None where it is not known."""
        if not self.examples_per_second:
            return None
        return self.examples / self.examples_per_second + self.starting_seconds

    @property
    def usd(self) -> float | None:
        """For the rest at this price an hour; None where it is not known."""
        seconds = self.seconds
        return None if seconds is None else seconds * self.usd_per_hour / 3600


def stop_words(
    kind: Kind, limits: Limits, spent_usd: float, left: Remaining, run_id: str, saved: bool
) -> str:
    """The one sentence for the user: what was expected, what came, how to go on.

    Args:
        kind: which limit is reached.
        limits: of the run.
        spent_usd: by now.
        left: of the training.
        run_id: whose.
        saved: whether there is a checkpoint of it.
    """
    expected = (
        f"to end within budget_usd {money(limits.budget_usd or 0.0)}"
        if kind == "budget"
        else "to be done by its deadline"
    )
    done = f"{left.done_examples:,} of {left.total_examples:,} examples"
    if not left.total_examples:
        done = "no example yet"
    text = f"train: expected {expected}, got {done} for {money(spent_usd)}"
    text += ", kept in a checkpoint" if saved else ""
    if left.usd is None or left.seconds is None:
        return f"{text}; `make resume RUN={run_id} SET={_raised(kind, None, None)}` goes on"
    rest = f"{left.examples:,} examples remain, about {left.seconds / 3600:.3g} hours and "
    budget = spent_usd + 1.2 * left.usd
    return (
        f"{text}; {rest}{money(left.usd)}: "
        f"`make resume RUN={run_id} SET={_raised(kind, budget, left.seconds)}` goes on from there"
    )


def money(usd: float) -> str:
    """Dollars with cents, or as many decimals as show three digits of less than one."""
    decimals = 2 if usd >= 1 or usd <= 0 else min(6, 2 - math.floor(math.log10(usd)))
    return f"${usd:.{decimals}f}"


def _raised(kind: Kind, budget_usd: float | None, seconds: float | None) -> str:
    """A limit that would let it end, as a parameter."""
    if kind == "budget":
        return '"budget_usd=' + ("…" if budget_usd is None else money(budget_usd)[1:]) + '"'
    return '"deadline=…"' if seconds is None else f'"deadline={_moment(seconds)}"'


def _moment(seconds: float) -> str:
    return f"{max(1, math.ceil(1.2 * seconds / 60))}m"
