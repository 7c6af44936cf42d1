"""A quote: what a run will cost and how long it will take, size by size, with 80 % intervals. Pure.

A quote says what `tally bill` will say: hardware, software and the value of the hours waited, of
the whole run from submit to its end, and its wall clock.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tally.costing.plan import Basis

SECONDS_PER_HOUR = 3600.0
LISTED_SPREAD = 0.3  # of what nothing was measured of, at least
MOOD = 0.10  # half-width of what moves all parts at once: a machine is slower on one day


@dataclass(frozen=True, slots=True)
class Range:
    """An amount with the interval that it is in in 80 % of all cases."""

    low: float
    expected: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval as a share of what is expected."""
        return (self.high - self.low) / 2 / self.expected if self.expected else 0.0

    def times(self, factor: float) -> "Range":
        """All three, so many times."""
        return Range(self.low * factor, self.expected * factor, self.high * factor)

    def widened(self, factor: float) -> "Range":
        """The same expectation in an interval so many times as wide; never below 0."""
        low = self.expected - (self.expected - self.low) * factor
        return Range(
            max(0.0, low), self.expected, self.expected + (self.high - self.expected) * factor
        )

    def moody(self, share: float) -> "Range":
        """The same expectation, also ± such a share of it, whatever else it is unsure by."""
        more = self.expected * share
        below = math.hypot(self.expected - self.low, more)
        above = math.hypot(self.high - self.expected, more)
        return Range(max(0.0, self.expected - below), self.expected, self.expected + above)

    def at_least(self, share: float) -> "Range":
        """The same expectation, ± such a share of it or more."""
        low, high = self.expected * (1 - share), self.expected * (1 + share)
        return Range(min(self.low, low), self.expected, max(self.high, high))


def exactly(amount: float) -> Range:
    """An amount that is known."""
    return Range(amount, amount, amount)


def total(parts: Iterable[Range]) -> Range:
    """The sum of amounts that go wrong independently of one another: half-widths add as squares."""
    given = list(parts)
    expected = math.fsum(part.expected for part in given)
    below = math.hypot(*(part.expected - part.low for part in given))
    above = math.hypot(*(part.high - part.expected for part in given))
    return Range(max(0.0, expected - below), expected, expected + above)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One size on one machine type, before it is priced.

    Attributes:
        machine_type: of the catalogue; "local" here, "" for pods wherever there is room.
        workers: to begin with.
        machines: that are paid for while they train: one here however many workers, else one each.
        price_usd_per_hour, software_usd_per_hour: of one machine.
        basis: where `step` is from.
        step: seconds of a full step.
        steps: of the whole training, in full steps.
        start: seconds until the workers train, and from their last step to the end of the train
            step; they hold their machines meanwhile.
        excluded: why it cannot be, "" where it can.
        allowed: whether the run may have it as it was asked for.
    """

    machine_type: str
    workers: int
    machines: int
    price_usd_per_hour: float
    software_usd_per_hour: float
    basis: Basis
    step: Range
    steps: float
    start: Range
    excluded: str = ""
    allowed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """What is not training: submit and the other steps.

    Attributes:
        before, after: wall seconds before and after the train step.
        usd_per_hour: hardware that they hold.
        software_usd_per_hour: the same for software.
        value_of_hour_usd: of every hour of the wall clock, training too.
    """

    before: Range
    after: Range
    usd_per_hour: float
    software_usd_per_hour: float
    value_of_hour_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A size with what it would take and cost.

    Attributes:
        candidate: the size.
        seconds: wall clock of the run.
        trained_seconds: of them, until training is done.
        usd: the total of the bill.
        hardware_usd, software_usd, time_usd: its parts, as expected.
    """

    candidate: Candidate
    seconds: Range
    trained_seconds: Range
    usd: Range
    hardware_usd: float
    software_usd: float
    time_usd: float

    @property
    def name(self) -> str:
        """The size in words."""
        where = {"local": "this machine", "": "any node"}.get(
            self.candidate.machine_type, self.candidate.machine_type
        )
        count = self.candidate.workers
        return f"{count} worker{'s' * (count != 1)} on {where}"


def price(candidate: Candidate, others: Others, width: float = 1.0) -> Row:
    """What a size would take and cost.

    Args:
        candidate: the size.
        others: the rest of the run.
        width: by which the intervals are widened, from what past quotes were wrong by.
    """
    training = candidate.step.times(candidate.steps)
    held = total([training, candidate.start])
    rest = total([others.before, others.after])
    value = others.value_of_hour_usd
    of_machines = candidate.machines * candidate.price_usd_per_hour
    of_software = candidate.machines * candidate.software_usd_per_hour
    while_training = (of_machines + of_software + value) / SECONDS_PER_HOUR
    otherwise = (others.usd_per_hour + others.software_usd_per_hour + value) / SECONDS_PER_HOUR

    def sum_of(*parts: Range) -> Range:
        least = LISTED_SPREAD if candidate.basis == "listed" else 0.0
        return total(parts).moody(MOOD).widened(width).at_least(least)

    hours = held.expected / SECONDS_PER_HOUR, rest.expected / SECONDS_PER_HOUR
    return Row(
        candidate=candidate,
        seconds=sum_of(held, rest),
        trained_seconds=sum_of(others.before, held),
        usd=sum_of(held.times(while_training), rest.times(otherwise)),
        hardware_usd=hours[0] * of_machines + hours[1] * others.usd_per_hour,
        software_usd=hours[0] * of_software + hours[1] * others.software_usd_per_hour,
        time_usd=sum(hours) * value,
    )


def symmetric(expected: float, relative: float) -> Range:
    """An amount ± a share of it; low and high are factors of one another's inverse."""
    factor = 1 + max(0.0, relative)
    return Range(expected / factor, expected, expected * factor)
