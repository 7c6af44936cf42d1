"""The size of a gang while it trains: what its conductor observes, asks and writes down."""

import math
import time
from dataclasses import asdict
from typing import Any

from tally import clock
from tally.costing.plan import LOCAL, Plan, PlannedOffer
from tally.gang import messages as say
from tally.gang.actions import Changed, Decided, GiveUp
from tally.gang.coordinator import events as heard
from tally.learning import batches
from tally.machines.catalogue import machine
from tally.scaling.controller import Controller, Outcome, Setup
from tally.scaling.policy import Decision, Offer, Size
from tally.scaling.stepfit import Observation
from tally.scaling.stepmodel import StepTime
from tally.spec import Spec
from tally.steps.limiting import Limiter
from tally.steps.step import Step

START_SECONDS = 8.0  # of a worker until it trains, where nothing says it
_UNWEIGHED = {"predicted_saving_usd": 0.0}


class Scaler:
    """Tells the controller of a run what happens, asks it, and writes down what was decided.

    Attributes:
        batch_size: the global batch that it begins with, in examples.
    """

    def __init__(self, here: Step, setup: Setup, limiter: Limiter | None, batch_size: int) -> None:
        """Nothing trains yet.

        Args:
            here: the train step.
            setup: what is known before.
            limiter: of the run's budget and deadline, if it has any.
            batch_size: the global batch to begin with.
        """
        self._here, self._limiter, self.batch_size = here, limiter, batch_size
        self.controller = Controller(setup)
        self._begun = time.monotonic()

    def formed(self, size: Size) -> None:
        """A generation of this size trains."""
        self.controller.formed(self._now(), size)

    def said(self, message: say.Message) -> None:
        """A worker said something."""
        if isinstance(message, say.Progress):
            done, trained = message.done_examples, message.trained_examples
            self.controller.progressed(self._now(), done, trained or done)

    def observed(self, observation: heard.Observation) -> None:
        """What a worker measured."""
        self.controller.observed(observation.sync_seconds, observation.gradient_noise_scale)

    def weigh(self, size: Size | None) -> Decision | None:
        """What the policy says, at this size where it is another than that of the generation."""
        return self.controller.decide(self._now(), self._spent_usd(), size)

    def do(self, action: Decided | Changed | GiveUp) -> None:
        """What the rules say about the size."""
        match action:
            case Decided(before, after, reason, advice):
                facts = self._facts(advice) if isinstance(advice, Decision) else _UNWEIGHED
                sizes = {"before": asdict(before), "after": asdict(after)}
                self._here.decided("decision", **sizes, reason=reason, **facts)
            case Changed(before, advice) if isinstance(advice, Decision):
                self._write_outcome(self.controller.changed(self._now(), before, advice))
            case GiveUp(machine_type, workers):
                self.controller.absent(self._now(), machine_type, workers)
                self.controller.given_up()

    def ended(self) -> None:
        """The training has ended: what the last change has saved."""
        self._write_outcome(self.controller.outcome(self._now()))

    def _facts(self, decision: Decision) -> dict[str, Any]:
        return {
            "predicted_seconds": _finite(decision.predicted_seconds),
            "predicted_usd": _finite(decision.predicted_usd),
            "predicted_saving_usd": _finite(decision.saving_usd),
            "restart_seconds": self.controller.restart_seconds,
        }

    def _write_outcome(self, outcome: Outcome | None) -> None:
        if outcome is None or outcome.examples <= 0:
            return
        self._here.decided(
            "decision_outcome",
            before=asdict(outcome.change.before),
            after=asdict(outcome.change.size),
            seconds=outcome.seconds,
            examples=outcome.examples,
            saving_usd=outcome.saving_usd,
            predicted_saving_usd=_finite(outcome.change.predicted_saving_usd),
        )

    def _spent_usd(self) -> float:
        if self._limiter is None:
            return 0.0
        return self._limiter.spending.usd_at(clock.now_microseconds())

    def _now(self) -> float:
        return time.monotonic() - self._begun


def scaler_of(
    here: Step,
    asked: Spec,
    plan: Plan | None,
    limiter: Limiter | None,
    kind: str,
    examples: int,
    batch_size: int,
) -> Scaler | None:
    """Of a run whose size is Tally's to choose; None for any other.

    Args:
        here: the train step.
        asked: what the user did, begun as planned.
        plan: what the plan step found out, if there was one.
        limiter: of budget and deadline.
        kind: machine type of the workers that it begins with, "local" for processes here.
        examples: of the training split.
        batch_size: the global batch that it begins with.
    """
    if not asked.elastic and asked.batch == "fixed":
        return None
    value = plan.value_of_hour_usd if plan else machine("local").value_of_hour_usd
    counted = value if asked.limit_usd is not None else 0.0  # a budget counts the value of time
    planned = plan.offers if plan else ()
    offers = tuple(_offer(one, asked, counted) for one in planned or (_plain(kind, asked),))
    until = limiter.limits.deadline_microseconds if limiter else None
    left = None if until is None else (until - clock.now_microseconds()) / 1e6
    setup = Setup(
        offers=offers,
        planned={one.machine_type: _rows(one) for one in planned},
        priors={one.machine_type: StepTime(**one.step_time) for one in planned if one.step_time},
        kind=asked.objective,
        value_of_hour_usd=value,
        budget_usd=asked.limit_usd,
        deadline_seconds=left,
        base_batch=asked.batch_size,
        batches=batches.reachable(asked.batch_size, asked.largest_batch),
        total_examples=asked.epochs * examples,
        shards=asked.virtual_shards,
        restart_seconds=plan.start_seconds if plan else START_SECONDS,
    )
    return Scaler(here, setup, limiter, batch_size)


def _plain(kind: str, asked: Spec) -> PlannedOffer:
    """The machine type that it begins with, where no plan says more."""
    found = machine(kind) if kind else None
    return PlannedOffer(
        machine_type=kind,
        price_usd_per_hour=found.price_usd_per_hour if found else 0.0,
        software_usd_per_hour=found.software_usd_per_hour if found else 0.0,
        min_workers=asked.fewest_workers,
        max_workers=asked.most_workers,
        basis="listed",
    )


def _offer(planned: PlannedOffer, asked: Spec, counted_usd_per_hour: float) -> Offer:
    """For the policy: workers share this machine, and have any other to themselves."""
    price = planned.price_usd_per_hour + planned.software_usd_per_hour
    here = planned.machine_type == LOCAL
    return Offer(
        machine_type=planned.machine_type,
        price_usd_per_hour=0.0 if here else price,
        fixed_usd_per_hour=counted_usd_per_hour + (price if here else 0.0),
        interruptions_per_hour=planned.interruptions_per_hour,
        min_workers=max(planned.min_workers, asked.fewest_workers),
        max_workers=min(planned.max_workers, asked.most_workers),
        workers_per_node=None if here else 1,
    )


def _rows(planned: PlannedOffer) -> tuple[Observation, ...]:
    return tuple(Observation(**asdict(row)) for row in planned.observed)


def _finite(value: float) -> Any:
    return value if math.isfinite(value) else None
