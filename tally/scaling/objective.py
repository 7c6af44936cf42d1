"""What a run is to be best at, and what it must not exceed. Pure."""

import math
from dataclasses import dataclass
from typing import Literal

from tally.errors import SpecError

DEFAULT_VALUE_OF_HOUR_USD = 5.0  # an hour of waiting, beside other work

Kind = Literal["balanced", "deadline", "budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What the user asked for.

    Attributes:
        kind: `balanced`: least dollars plus value of the hours; `deadline`: the cheapest that ends
            in time; `budget`: the fastest within the budget.
        value_of_hour_usd: what an hour of waiting is worth to the user; counts for `balanced`.
        budget_usd: the most that the whole run may cost, all attempts together; None: no limit.
        deadline_seconds_left: until it must have ended; None: no limit. 0 or less is over.

    Raises:
        SpecError: a value below 0, a budget of 0, a kind without its limit.
    """

    kind: Kind = "balanced"
    value_of_hour_usd: float = DEFAULT_VALUE_OF_HOUR_USD
    budget_usd: float | None = None
    deadline_seconds_left: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.value_of_hour_usd < math.inf:
            raise SpecError(
                f"value_of_hour must be 0 or more dollars, got {self.value_of_hour_usd:g}; "
                "pass what an hour of waiting is worth to you"
            )
        if self.budget_usd is not None and not self.budget_usd > 0:
            raise SpecError(
                f"budget must be above 0 dollars, got {self.budget_usd:g}; "
                "pass what the run may cost"
            )
        if self.kind == "budget" and self.budget_usd is None:
            raise SpecError("objective=budget needs a budget, got none; pass budget_usd")
        if self.kind == "deadline" and self.deadline_seconds_left is None:
            raise SpecError("objective=deadline needs a deadline, got none; pass when it must end")

    @property
    def usd_per_usd(self) -> float:
        """Weight of a dollar in what is minimised."""
        return 0.0 if self.kind == "budget" else 1.0

    @property
    def usd_per_second(self) -> float:
        """Weight of a second in what is minimised."""
        if self.kind == "budget":
            return 1.0
        return self.value_of_hour_usd / 3600 if self.kind == "balanced" else 0.0

    def usd_left(self, spent_usd: float) -> float:
        """Dollars that may still be spent; infinite without a budget."""
        return math.inf if self.budget_usd is None else self.budget_usd - spent_usd

    @property
    def limited(self) -> bool:
        """Whether there is a budget or a deadline to keep."""
        return self.budget_usd is not None or self.deadline_seconds_left is not None

    @property
    def seconds_left(self) -> float:
        """Until the deadline; infinite without one."""
        return math.inf if self.deadline_seconds_left is None else self.deadline_seconds_left
