"""A run that is to be quoted: what is asked for, and within which limits."""

from dataclasses import dataclass

from tally import clock, limits
from tally.costing.picking import Limits
from tally.data.format import Dataset
from tally.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A run that is to be quoted.

    Attributes:
        pipeline, spec, dataset: of the run.
        value_of_hour_usd: what an hour waited costs.
        created_at_microseconds: when it was or would be submitted.
        begun: seconds of its wall clock that have gone; None for a run that is not submitted yet.
        spent_usd: by its earlier attempts.
    """

    pipeline: str
    spec: Spec
    dataset: Dataset
    value_of_hour_usd: float
    created_at_microseconds: int
    begun: float | None = None
    spent_usd: float = 0.0

    def limits(self) -> Limits:
        """What the user allows, as of now."""
        spec, now = self.spec, clock.now_microseconds()
        deadline, budget = limits.moment(spec.deadline), spec.limit_usd
        begun = self.created_at_microseconds
        return Limits(
            objective=spec.objective,
            budget_usd=None if budget is None else budget - self.spent_usd,
            deadline_seconds=None if deadline is None else deadline.seconds_left(begun, now),
            allow_listed=spec.allow_listed,
        )

    def deadline_at_microseconds(self) -> int | None:
        """When training has to be done, UTC; None for no deadline."""
        left = self.limits().deadline_seconds
        return None if left is None else clock.now_microseconds() + round(left * 1e6)
