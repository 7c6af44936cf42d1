"""Why a size was decided, in words that a user reads in the report. Pure."""

from dataclasses import dataclass
from typing import Literal

from tally.scaling.objective import Objective
from tally.scaling.sizes import Size

Stop = Literal["budget", "deadline"]


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a plan: a size and the share of what remains that is done at it."""

    size: Size
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A plan beside staying, from now to the end; expected dollars and seconds.

    Attributes:
        now: the present size; None before the start.
        legs: the plan.
        usd: of it.
        seconds: of it.
        stay_usd: of staying at the present size; None where that is not possible.
        stay_seconds: of staying.
        restart_seconds: what a change is planned with.
        usd_left: of the budget; infinite without one.
        seconds_left: to the deadline; infinite without one.
    """

    now: Size | None
    legs: tuple[Leg, ...]
    usd: float
    seconds: float
    stay_usd: float | None
    stay_seconds: float | None
    restart_seconds: float
    usd_left: float
    seconds_left: float

    @property
    def met(self) -> bool:
        """Whether budget and deadline are expected to be kept."""
        return self.usd <= self.usd_left and self.seconds <= self.seconds_left

    @property
    def moves(self) -> bool:
        """Whether the plan begins with another machine type or number of workers."""
        first = self.legs[0].size
        return self.now is not None and _place(first) != _place(self.now)

    @property
    def saving(self) -> tuple[float, float]:
        """Dollars and seconds against staying; 0 where it stays or staying is not possible."""
        if not self.moves or self.stay_usd is None or self.stay_seconds is None:
            return 0.0, 0.0
        return self.stay_usd - self.usd, self.stay_seconds - self.seconds


def explain(weighed: Weighed, objective: Objective, stop: Stop | None) -> str:
    """A few sentences: what is done, what it saves, what comes next, what cannot be met."""
    parts = [_stop(weighed, objective, stop)] if stop else [_choice(weighed, objective)]
    if not stop and len(weighed.legs) > 1:
        after = weighed.legs[1].size
        done = 100 * weighed.legs[0].share
        parts.append(f"then {_name(after)} after {done:.0f} % of what remains")
    if not weighed.met:
        parts.append(_nearest(weighed))
    return "; ".join(parts)


def _choice(weighed: Weighed, objective: Objective) -> str:
    first = weighed.legs[0].size
    ahead = f"{hours(weighed.seconds)} and {usd(weighed.usd)} to the end"
    if weighed.now is None:
        return f"begin with {_name(first)}: {ahead}"
    if not weighed.moves:
        if first.batch_size != weighed.now.batch_size:
            return f"stay at {_name(weighed.now)}, batch {first.batch_size} from now: {ahead}"
        return f"stay at {_name(weighed.now)}: {ahead}"
    move = f"{_name(weighed.now)} → {_name(first)}"
    if weighed.stay_usd is None or weighed.stay_seconds is None:
        return f"{move}, since the present size cannot be kept: {ahead}"
    return f"{move}: {ahead}, against {_staying(weighed, objective)}"


def _staying(weighed: Weighed, objective: Objective) -> str:
    if weighed.stay_usd is None or weighed.stay_seconds is None:
        return "no way to stay"
    text = f"{hours(weighed.stay_seconds)} and {usd(weighed.stay_usd)} if it stayed"
    saved_usd, saved_seconds = weighed.saving
    if weighed.stay_seconds > weighed.seconds_left or weighed.stay_usd > weighed.usd_left:
        text += ", which would not keep the limit"
    elif objective.kind == "balanced":
        total = saved_usd + saved_seconds * objective.usd_per_second
        text += f"; saves {usd(total)} with an hour worth {usd(objective.value_of_hour_usd)}"
    elif saved_usd >= 0 and objective.kind == "deadline":
        text += f"; saves {usd(saved_usd)}"
    elif saved_seconds >= 0 and objective.kind == "budget":
        text += f"; saves {hours(saved_seconds)}"
    else:
        text += ", which could miss the limit"
    return f"{text} (a restart is counted as {weighed.restart_seconds:.3g} s)"


def _stop(weighed: Weighed, objective: Objective, stop: Stop | None) -> str:
    rest = f"{hours(weighed.seconds)} and {usd(weighed.usd)} would remain"
    if stop == "budget":
        return f"stop: the budget of {usd(objective.budget_usd or 0.0)} is spent; {rest}"
    return f"stop: the deadline has come; {rest}"


def _nearest(weighed: Weighed) -> str:
    """What can be had instead of a limit that nothing keeps."""
    parts = []
    if weighed.usd > weighed.usd_left:
        left = max(weighed.usd_left, 0.0)
        parts.append(f"{usd(left)} is left, the nearest that can be met is {usd(weighed.usd)}")
    if weighed.seconds > weighed.seconds_left:
        left = max(weighed.seconds_left, 0.0)
        parts.append(
            f"{hours(left)} is left, the nearest that can be met is {hours(weighed.seconds)}"
        )
    return "nothing meets the objective: " + " and ".join(parts)


def _place(size: Size) -> tuple[str, int]:
    return size.machine_type, size.workers


def _name(size: Size) -> str:
    return f"{size.workers} × {size.machine_type}"


def usd(amount: float) -> str:
    """Dollars to the cent, to three figures where they are few: $12.30, $0.0123."""
    return f"${amount:.2f}" if abs(amount) >= 1 or amount == 0 else f"${amount:.3g}"


def hours(seconds: float) -> str:
    """A duration: 40 s, 12 min, 3.5 h."""
    if abs(seconds) < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if abs(seconds) < 7200 else f"{seconds / 3600:.1f} h"
