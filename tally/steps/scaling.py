"""The size of a gang while it trains: what its conductor observes, decides and writes down."""

import math
import time
from dataclasses import asdict
from typing import Any

from tally import clock
from tally.costing.plan import LOCAL, Plan, PlannedOffer
from tally.gang import messages as say
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

DECIDE_SECONDS = 4.0
PENDING_SECONDS = 30.0  # a worker without a place is not waited for any longer
START_SECONDS = 8.0  # of a worker until it trains, where nothing says it


class Scaler:
    """Tells the controller of a run what happens, and writes its decisions down."""

    def __init__(self, here: Step, setup: Setup, limiter: Limiter | None, base_batch: int) -> None:
        """Nothing trains yet.

        Args:
            here: the train step.
            setup: what is known before.
            limiter: of the run's budget and deadline, if it has any.
            base_batch: the global batch to begin with.
        """
        self._here, self._limiter, self._batch = here, limiter, base_batch
        self.controller = Controller(setup)
        self._begun, self._next = time.monotonic(), 0.0
        self._ordered_at = 0.0
        self._stayed = False
        self._wanted: Size | None = None

    def formed(self, machine_type: str, workers: int, batch_size: int) -> None:
        """A generation of so many workers trains, with this global batch (0: as before)."""
        self._batch = batch_size or self._batch
        self.controller.formed(self._now(), Size(machine_type, workers, self._batch))

    def said(self, message: say.Message) -> None:
        """A worker said something."""
        if isinstance(message, say.Progress):
            done, trained = message.done_examples, message.trained_examples
            self.controller.progressed(self._now(), done, trained or done)

    def observed(self, observation: heard.Observation) -> None:
        """What a worker measured."""
        self.controller.observed(observation.sync_seconds, observation.gradient_noise_scale)

    def wait_seconds(self) -> float:
        """Until the next decision is due."""
        return max(0.0, self._next - self._now())

    def decide(self) -> Size | None:
        """The size to change to now, if another pays; written down with its reasons."""
        if self.wait_seconds() > 0:
            return None
        self._next = self._now() + DECIDE_SECONDS
        now = self.controller.running.now
        decision = self.controller.decide(self._now(), self._spent_usd())
        if decision is None or now is None:
            return None
        before, self._wanted = self._wanted, decision.size
        moved = _place(decision.size) != _place(now)
        if moved and before != decision.size:
            return None  # a noisy look is no reason to restart: the next has to say it too
        if decision.size == now:
            if not self._stayed:
                self._write(now, decision, decision.reason)
            self._stayed = True
            return None
        return self._order(now, decision, decision.reason)

    def lost(self, machine_type: str, workers: int, reason: str) -> Size | None:
        """A worker was taken away; the size to go on at without it, or None to replace it.

        Args:
            machine_type: of the gang.
            workers: that are left.
            reason: why it is gone.
        """
        if workers < 1 or self.controller.running.now is None:
            return None
        left = Size(machine_type, workers, self._batch)
        decision = self.controller.decide(self._now(), self._spent_usd(), left)
        if decision is None or decision.size != left:
            return None
        why = f"not replaced ({reason}): {decision.reason}"
        return self._order(self.controller.running.now, decision, why)

    def pending(self, machine_type: str, running: int, target: int) -> Size | None:
        """The size to go on at where workers that were asked for have no place; None to wait.

        Args:
            machine_type: of those that were asked for.
            running: how many of them run.
            target: how many were asked for.
        """
        late = self._now() > self._ordered_at + PENDING_SECONDS
        if running >= target or not self._ordered_at or not late:
            return None
        self._ordered_at = 0.0
        self.controller.absent(self._now(), machine_type, running)
        self.controller.given_up()
        now = self.controller.running.now
        if now is None:
            return None
        size = Size(machine_type, max(1, running), self._batch)
        self._here.decided(
            "decision",
            before=asdict(now),
            after=asdict(size),
            reason=f"{target - running} of {target} workers had no place for {PENDING_SECONDS:.0f} "
            f"s: it goes on with the {running} that came",
            predicted_saving_usd=0.0,
        )
        return size

    def ended(self) -> None:
        """The training has ended: what the last change has saved."""
        self._write_outcome(self.controller.outcome(self._now()))

    def _order(self, now: Size, decision: Decision, reason: str) -> Size:
        self._write(now, decision, reason)
        self._write_outcome(self.controller.changed(self._now(), now, decision))
        self._ordered_at = self._now()
        self._stayed = False
        return decision.size

    def _write(self, now: Size, decision: Decision, reason: str) -> None:
        self._here.decided(
            "decision",
            before=asdict(now),
            after=asdict(decision.size),
            reason=reason,
            predicted_seconds=_finite(decision.predicted_seconds),
            predicted_usd=_finite(decision.predicted_usd),
            predicted_saving_usd=_finite(decision.saving_usd),
            restart_seconds=self.controller.restart_seconds,
        )

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


def _place(size: Size) -> tuple[str, int]:
    return size.machine_type, size.workers
