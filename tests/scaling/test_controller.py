"""A controller is told what a gang does, and says which size it should go on at."""

from dataclasses import replace
from typing import Any

import pytest

from tally.scaling.controller import AGAIN_SECONDS, Controller, Setup
from tally.scaling.policy import Offer, Size
from tally.scaling.running import Running, joined
from tally.scaling.stepfit import Observation

ONE, TWO = Size("m", 1, 32), Size("m", 2, 32)
TOTAL = 10_000_000


def setup(**changes: Any) -> Setup:
    given: dict[str, Any] = {
        "offers": (Offer(machine_type="m", price_usd_per_hour=1.0, max_workers=2),),
        "value_of_hour_usd": 5.0,
        "base_batch": 32,
        "batches": (32,),
        "total_examples": TOTAL,
        "restart_seconds": 10.0,
        **changes,
    }
    return Setup(**given)


def train(
    controller: Controller, at: float, seconds: float, examples_per_second: float, size: Size
) -> float:
    """A generation that trains so long; when it has ended."""
    controller.formed(at, size)
    begun = controller.done_examples
    for tenth in range(1, round(seconds * 10) + 1):
        done = begun + round(tenth / 10 * examples_per_second)
        controller.progressed(at + tenth / 10, done)
        if size.workers > 1:
            controller.observed(0.001, float("nan"))
    return at + seconds


def test_it_grows_where_more_workers_may_be_faster_and_says_what_that_saved() -> None:
    controller = Controller(setup())
    at = train(controller, 0, 10, 1000, ONE)
    decision = controller.decide(at, 0.0)
    assert decision is not None
    assert decision.size == TWO
    assert decision.saving_usd > 0
    assert controller.changed(at, ONE, decision) is None
    at = train(controller, at + 5, 100, 1900, TWO)
    outcome = controller.outcome(at)
    assert outcome is not None
    assert outcome.seconds == 105
    there = outcome.examples / 1000  # seconds that one worker would have taken
    assert outcome.saving_usd == pytest.approx((there * 6 - 105 * 7) / 3600, rel=0.02)


def test_it_goes_back_where_more_workers_turn_out_slower() -> None:
    controller = Controller(setup())
    at = train(controller, 0, 10, 1000, ONE)
    decision = controller.decide(at, 0.0)
    assert decision is not None
    controller.changed(at, ONE, decision)
    at = train(controller, at + 5, 20, 700, TWO)
    back = controller.decide(at, 0.0)
    assert back is not None
    assert back.size == ONE


def test_nothing_is_decided_before_there_is_a_speed_or_while_a_change_is_under_way() -> None:
    controller = Controller(setup())
    assert controller.decide(0, 0.0) is None
    at = train(controller, 0, 2, 1000, ONE)
    assert controller.decide(at, 0.0) is None
    at = train(controller, at, 10, 1000, ONE)
    decision = controller.decide(at, 0.0)
    assert decision is not None
    controller.changed(at, ONE, decision)
    at = train(controller, at, 10, 1000, ONE)
    assert controller.decide(at, 0.0) is None
    controller.given_up()
    assert controller.decide(at, 0.0) is not None


def test_near_the_end_no_change_pays() -> None:
    controller = Controller(setup(total_examples=10_000))
    at = train(controller, 0, 9.9, 1000, ONE)
    assert controller.decide(at, 0.0) is None
    controller = Controller(setup(total_examples=20_000))
    at = train(controller, 0, 10, 1000, ONE)
    decision = controller.decide(at, 0.0)  # 10 s are left, a change takes as long
    assert decision is not None
    assert decision.size == ONE


def test_a_restart_costs_what_it_was_measured_to_cost() -> None:
    controller = Controller(setup())
    at = train(controller, 0, 10, 1000, ONE)
    decision = controller.decide(at, 0.0)
    assert decision is not None
    controller.changed(at, ONE, decision)
    assert controller.restart_seconds == 10
    train(controller, at + 40, 5, 1900, TWO)
    assert controller.restart_seconds == pytest.approx(40.1)


def test_workers_that_did_not_come_are_not_asked_for_again_for_a_while() -> None:
    controller = Controller(setup())
    at = train(controller, 0, 10, 1000, ONE)
    controller.absent(at, "m", 1)
    refused = controller.decide(at, 0.0)
    assert refused is not None
    assert refused.size == ONE
    again = controller.decide(at + AGAIN_SECONDS, 0.0)
    assert again is not None
    assert again.size == TWO


def test_a_budget_that_two_workers_would_exceed_keeps_it_at_one() -> None:
    offer = Offer(machine_type="m", price_usd_per_hour=10.0, fixed_usd_per_hour=0.5, max_workers=2)
    planned = tuple(
        Observation(workers=k, examples_per_worker=32 / k, step_seconds=32 / rate)
        for k, rate in ((1, 1000), (2, 1200))
    )
    given = setup(offers=(offer,), planned={"m": planned}, kind="budget", total_examples=1_000_000)
    seconds = given.total_examples / 1000
    enough = Controller(replace(given, budget_usd=100.0))
    at = train(enough, 0, 10, 1000, ONE)
    decision = enough.decide(at, 0.0)
    assert decision is not None
    assert decision.size == TWO
    tight = Controller(replace(given, budget_usd=1.4 * seconds * 10.5 / 3600))
    at = train(tight, 0, 10, 1000, ONE)
    decision = tight.decide(at, 0.0)
    assert decision is not None
    assert decision.size == ONE


def test_a_size_is_as_fast_as_its_latest_window_says() -> None:
    running = Running()
    running.formed(0, ONE)
    for second in range(100):
        running.progressed(second, second * 1000 if second < 50 else 50_000 + (second - 50) * 500)
    assert running.speeds[ONE].example_seconds == pytest.approx(1 / 500)


def test_a_profiles_rows_are_brought_to_the_pace_of_the_run() -> None:
    profile = [
        Observation(workers=1, examples_per_worker=32, step_seconds=0.01),
        Observation(workers=2, examples_per_worker=16, step_seconds=0.008, sync_seconds=0.002),
    ]
    seen = [Observation(workers=1, examples_per_worker=32, step_seconds=0.02)]
    rows = {row.workers: row for row in joined(profile, seen)}
    assert rows[1].step_seconds == 0.02
    assert rows[2].step_seconds == pytest.approx(0.016)
    assert rows[2].sync_seconds == pytest.approx(0.004)
