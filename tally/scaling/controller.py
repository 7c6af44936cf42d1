"""From what a gang shows to the size it should go on at, and to what a change has saved. Pure.

Times are seconds since the run began.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tally.errors import SpecError
from tally.learning.batches import efficiency
from tally.scaling.forecast import NoiseSeen
from tally.scaling.policy import Decision, Objective, Offer, Seen, Size, decide
from tally.scaling.running import Running, joined
from tally.scaling.stepfit import Fitted, Observation, fit
from tally.scaling.stepmodel import StepTime

AGAIN_SECONDS = 300.0  # an offer of which workers did not come is not asked for again meanwhile
SHARE_TO_END = 0.02  # of a training that is left: no change pays back
NOISES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is known before a gang has begun.

    Attributes:
        offers: machine types with prices and numbers of workers.
        planned: a profile's rows, by machine type.
        priors: coefficients that a plan knew, by machine type.
        kind, value_of_hour_usd, budget_usd, deadline_seconds: the objective; the deadline as
            seconds since the run began.
        base_batch: the user's global batch.
        batches: that may be used, ascending.
        total_examples: that training sets out to see.
        shards: virtual shards that workers take whole; None: any part of a batch.
        restart_seconds: what a change of size is thought to take until one was measured.
    """

    offers: tuple[Offer, ...]
    planned: Mapping[str, tuple[Observation, ...]] = field(default_factory=dict)
    priors: Mapping[str, StepTime] = field(default_factory=dict)
    kind: Literal["balanced", "deadline", "budget"] = "balanced"
    value_of_hour_usd: float = 0.0
    budget_usd: float | None = None
    deadline_seconds: float | None = None
    base_batch: int
    batches: tuple[int, ...]
    total_examples: int
    shards: int | None = None
    restart_seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of size that was ordered, and how fast it went before: `example_seconds` are those
    of an example of progress."""

    at: float
    done_examples: int
    before: Size
    size: Size
    example_seconds: float
    predicted_saving_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a change of size has saved until another moment, beside the old size's speed.

    Attributes:
        change: which.
        seconds, examples: from the order on.
        saving_usd: hardware, software and the value of time; below 0 where it cost.
    """

    change: Change
    seconds: float
    examples: int
    saving_usd: float


class Controller:
    """What a run's conductor knows of its sizes; it is told, and asked to decide."""

    def __init__(self, setup: Setup) -> None:
        """Nothing runs yet."""
        self.setup, self.running = setup, Running()
        self.done_examples = 0
        self._restarts: dict[bool, float] = {}  # of growing and others, as they were measured
        self._noises: list[NoiseSeen] = []
        self._change: Change | None = None
        self._arriving: Change | None = None
        self._absent: dict[str, tuple[float, int]] = {}  # until when, and how many came

    def formed(self, at: float, size: Size) -> None:
        """A generation of this size trains from now on."""
        self.running.formed(at, size)

    def progressed(self, at: float, done_examples: int, trained_examples: int = 0) -> None:
        """So much is done.

        Args:
            at: the moment.
            done_examples: progress, in examples at the base batch.
            trained_examples: that were computed for it; 0 for as many.
        """
        self.done_examples = done_examples
        self.running.progressed(at, trained_examples or done_examples)
        arriving, now = self._arriving, self.running.now
        if arriving and now == arriving.size and self.running.first_step_at is not None:
            if _place(arriving.before) != _place(arriving.size):
                self._restarts[_grows(arriving)] = self.running.first_step_at - arriving.at
            self._arriving = None

    def observed(self, sync_seconds: float, noise_scale_examples: float) -> None:
        """What a worker measured in a step; not a number where it did not."""
        self.running.synced(sync_seconds)
        if noise_scale_examples > 0 and self.running.now and self.done_examples:
            seen = NoiseSeen(
                float(self.done_examples), self.running.now.batch_size, noise_scale_examples
            )
            if not self._noises or self._noises[-1] != seen:
                self._noises = [*self._noises[-NOISES:], seen]

    def absent(self, at: float, machine_type: str, come: int) -> None:
        """No more workers of a machine type than `come` have a place: it is not asked for more."""
        self._absent[machine_type] = at + AGAIN_SECONDS, come

    @property
    def arriving(self) -> bool:
        """Whether a change of size is ordered and not yet there."""
        return self._arriving is not None

    @property
    def restart_seconds(self) -> float:
        """What a change of size takes: the dearer kind, as it was measured or is thought."""
        return max([self._restarts.get(True, self.setup.restart_seconds), *self._restarts.values()])

    @property
    def remaining_share(self) -> float:
        """Of the training that is still to come."""
        return max(0.0, 1 - self.done_examples / max(1, self.setup.total_examples))

    def decide(self, at: float, spent_usd: float, now: Size | None = None) -> Decision | None:
        """What size to go on at; None while there is nothing to say.

        Args:
            at: the moment.
            spent_usd: the bill's total so far.
            now: the present size, where it is another than that of the generation.
        """
        size, setup = now or self.running.now, self.setup
        if size is None or self.remaining_share <= SHARE_TO_END:
            return None
        if now is None and (self._arriving or not self.running.settled):
            return None
        offers = self._offers(at)
        fitted, observed = self._fitted(offers)
        seen = Seen(
            fitted=fitted,
            base_batch=setup.base_batch,
            remaining_progress_examples=setup.total_examples - self.done_examples,
            progress_examples=self.done_examples,
            noise=self._noises if len(setup.batches) > 1 else (),
            observed=observed,
            spent_usd=spent_usd,
            elapsed_seconds=at,
            restart_seconds=self.restart_seconds,
            now=size,
            shards=setup.shards,
        )
        try:
            return decide(seen, offers, self._objective(at), setup.batches)
        except SpecError:
            return None  # nothing can be had now: it stays as it is

    def changed(self, at: float, before: Size, decision: Decision) -> Outcome | None:
        """A change of size is ordered; what the one before it has saved by now."""
        outcome = self.outcome(at)
        speed = self.running.speeds.get(before)
        self._change = None
        if speed:
            self._change = Change(
                at=at,
                done_examples=self.done_examples,
                before=before,
                size=decision.size,
                example_seconds=speed.example_seconds / self._worth(before),
                predicted_saving_usd=decision.saving_usd,
            )
            self._arriving = self._change
        return outcome

    def given_up(self) -> None:
        """The change that was ordered does not come."""
        self._arriving = None

    def outcome(self, at: float) -> Outcome | None:
        """What the last change has saved by now; None where there was none."""
        change = self._change
        if change is None:
            return None
        seconds, examples = at - change.at, self.done_examples - change.done_examples
        there = change.example_seconds * examples
        before, now = self._usd_per_hour(change.before), self._usd_per_hour(change.size)
        return Outcome(
            change=change,
            seconds=seconds,
            examples=examples,
            saving_usd=(there * before - seconds * now) / 3600,
        )

    def _worth(self, size: Size) -> float:
        """Of an example at this batch beside one at the base batch, as the noise is now."""
        noise = self._noises[-1].noise_scale_examples if self._noises else 0.0
        return efficiency(noise, self.setup.base_batch, size.batch_size)

    def _usd_per_hour(self, size: Size) -> float:
        offer = next(o for o in self.setup.offers if o.machine_type == size.machine_type)
        price = offer.price_usd_per_hour * size.workers + offer.fixed_usd_per_hour
        return price + self._objective(0.0).value_of_hour_usd

    def _offers(self, at: float) -> list[Offer]:
        """Those that can be had now."""
        found = []
        for offer in self.setup.offers:
            until, come = self._absent.get(offer.machine_type, (0.0, 0))
            if at < until:
                if come < offer.min_workers:
                    continue
                offer = replace(offer, max_workers=min(offer.max_workers, come))
            found.append(offer)
        return found

    def _fitted(
        self, offers: Sequence[Offer]
    ) -> tuple[dict[str, Fitted], dict[str, Sequence[Observation]]]:
        """By machine type: the model of a profile's steps and of this run's, and the latter."""
        fitted: dict[str, Fitted] = {}
        observed: dict[str, Sequence[Observation]] = {}
        for offer in offers:
            name = offer.machine_type
            observed[name] = self.running.observations(offer, self.setup.shards)
            rows = joined(self.setup.planned.get(name, ()), observed[name])
            prior = self.setup.priors.get(name)
            if rows or prior:
                fitted[name] = fit(rows, prior)
        return fitted, observed

    def _objective(self, at: float) -> Objective:
        """With a budget, which counts the value of time, that is in the prices already."""
        setup, until = self.setup, self.setup.deadline_seconds
        counted = setup.budget_usd is not None
        return Objective(
            kind=setup.kind,
            value_of_hour_usd=0.0 if counted else setup.value_of_hour_usd,
            budget_usd=setup.budget_usd,
            deadline_seconds_left=None if until is None else until - at,
        )


def _grows(change: Change) -> bool:
    """Whether workers had to be started for it."""
    moved = change.size.machine_type != change.before.machine_type
    return moved or change.size.workers > change.before.workers


def _place(size: Size) -> tuple[str, int]:
    return size.machine_type, size.workers
