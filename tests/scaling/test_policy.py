import math
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tally.errors import SpecError
from tally.scaling.forecast import NoiseSeen
from tally.scaling.objective import Objective
from tally.scaling.planning import Course
from tally.scaling.policy import STRETCHES, Offer, Seen, Size, _choose, decide
from tally.scaling.stepfit import Observation, fit
from tally.scaling.stepmodel import StepTime, step_seconds

MODEL = StepTime(
    grad_base_seconds=0.02,
    grad_example_seconds=0.001,
    sync_base_seconds=0.03,
    sync_growth_seconds=0.02,
    sync_nodes_base_seconds=0.1,
    sync_nodes_growth_seconds=0.05,
    gamma=1.5,
)
FITTED = fit(
    [
        Observation(
            workers=k,
            nodes=1,
            examples_per_worker=m,
            step_seconds=step_seconds(MODEL, k, m),
        )
        for k in (1, 2, 3, 4)
        for m in (32, 128, 512)
    ]
)
CPU = Offer(machine_type="cpu", price_usd_per_hour=1.0, max_workers=8)
SEEN = Seen(
    fitted={"cpu": FITTED},
    base_batch=128,
    remaining_progress_examples=5e6,
    progress_examples=1e5,
    noise=(NoiseSeen(1e5, 128, 2000.0),),
    restart_seconds=20.0,
    now=Size("cpu", 2, 128),
)
BATCHES = (128, 256, 512, 1024, 2048)
BALANCED = Objective(value_of_hour_usd=5.0)


def ran(workers, examples, factor=1.0):
    """Steps that took so many times what the model says."""
    step = factor * step_seconds(FITTED.model, workers, examples)
    return Observation(workers=workers, examples_per_worker=examples, step_seconds=step, weight=10)


RAN = {"cpu": [ran(k, m) for k in range(1, 9) for m in (32, 128, 512)]}


def total(decision, value_of_hour):
    return decision.predicted_usd + decision.predicted_seconds / 3600 * value_of_hour


@settings(max_examples=60, deadline=None)
@given(
    low=st.integers(1, 8),
    more=st.integers(0, 8),
    price=st.floats(0.01, 10),
    value=st.floats(0, 100),
    noise=st.floats(1, 1e6),
    now=st.sampled_from([None, 1, 3, 30]),
    counts=st.sampled_from([(), (1, 2, 4, 8, 16)]),
)
def test_never_outside_min_and_max_workers_nor_batches(low, more, price, value, noise, now, counts):
    offer = Offer(
        machine_type="cpu", price_usd_per_hour=price, min_workers=low, max_workers=low + 8 + more,
        counts=counts,
    )  # fmt: skip
    seen = replace(
        SEEN,
        noise=(NoiseSeen(1e5, 128, noise),),
        now=now and Size("cpu", now, 256),
    )
    decision = decide(seen, [offer], Objective(value_of_hour_usd=value), BATCHES)
    for leg in decision.plan:
        assert leg.size.workers in offer.workers()
        assert leg.size.batch_size in BATCHES
    assert sum(leg.share for leg in decision.plan) == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(value=st.floats(0, 100), restart=st.floats(0, 1e5), now=st.integers(1, 8))
def test_the_plan_is_never_dearer_than_staying(value, restart, now):
    seen = replace(SEEN, restart_seconds=restart, now=Size("cpu", now, 128))
    decision = decide(seen, [CPU], Objective(value_of_hour_usd=value), BATCHES)
    only_now = replace(CPU, counts=(now,))
    staying = decide(seen, [only_now], Objective(value_of_hour_usd=value), BATCHES)
    assert total(decision, value) <= total(staying, value) * 1.0001 + 1e-9
    if decision.size.workers != now:
        saved = total(staying, value) - total(decision, value)
        assert decision.saving_usd == pytest.approx(saved, rel=0.01, abs=1e-6)


def test_dearer_time_takes_more_workers_and_dearer_machines_fewer():
    start = replace(SEEN, now=None)
    picks = [
        decide(start, [CPU], Objective(value_of_hour_usd=v), BATCHES).size.workers
        for v in (0.1, 5, 100)
    ]
    assert picks == sorted(picks)
    assert picks[0] < picks[-1]
    dear = replace(CPU, price_usd_per_hour=50.0)
    assert decide(start, [dear], BALANCED, BATCHES).size.workers < picks[-1]


def test_it_stays_where_a_restart_costs_more_than_it_saves():
    moved = decide(SEEN, [CPU], Objective(value_of_hour_usd=50), BATCHES)
    assert moved.size.workers > 2
    assert "saves $" in moved.reason
    stays = decide(
        replace(SEEN, restart_seconds=1e5), [CPU], Objective(value_of_hour_usd=50), BATCHES
    )
    assert stays.size.workers == 2
    assert stays.saving_usd == 0
    assert stays.reason.startswith("stay at 2 × cpu")


def test_a_noisier_gradient_is_answered_with_a_larger_batch():
    sizes = [
        decide(
            replace(SEEN, noise=(NoiseSeen(1e5, 128, noise),)), [CPU], BALANCED, BATCHES
        ).size.batch_size
        for noise in (10.0, 1e3, 1e6)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_a_fixed_batch_stays_what_it_is():
    seen = replace(SEEN, base_batch=512, noise=(), now=Size("cpu", 2, 512))
    decision = decide(seen, [CPU], BALANCED, [512])
    assert {leg.size.batch_size for leg in decision.plan} == {512}
    seconds = step_seconds(FITTED.model, decision.size.workers, 512 / decision.size.workers)
    assert decision.predicted_seconds == pytest.approx(5e6 / 512 * seconds, rel=0.1)


def test_interruptions_are_weighed_against_the_spot_price():
    spot = replace(CPU, machine_type="spot", price_usd_per_hour=0.5)
    seen = replace(SEEN, fitted={"cpu": FITTED, "spot": FITTED}, now=None, restart_seconds=120)
    calm = decide(seen, [CPU, spot], BALANCED, BATCHES)
    assert calm.size.machine_type == "spot"
    torn = replace(spot, interruptions_per_hour=20.0)
    assert decide(seen, [CPU, torn], BALANCED, BATCHES).size.machine_type == "cpu"


def test_a_size_that_was_measured_slow_is_left():
    seen = replace(SEEN, now=Size("cpu", 4, 512), restart_seconds=1.0)
    only = replace(CPU, counts=(2, 4))
    assert decide(seen, [only], Objective(value_of_hour_usd=20), BATCHES).size.workers == 4
    steps = [ran(2, 256), ran(2, 1024), *(ran(4, m, 4.0) for m in (128, 256, 512))]
    slow = replace(seen, observed={"cpu": steps})
    assert decide(slow, [only], Objective(value_of_hour_usd=20), BATCHES).size.workers == 2


def test_a_deadline_takes_the_cheapest_that_ends_in_time():
    start = replace(SEEN, now=None)
    free = decide(start, [CPU], Objective(value_of_hour_usd=0), BATCHES)
    fastest = decide(start, [CPU], Objective(value_of_hour_usd=1e6), BATCHES)
    between = (free.predicted_seconds + fastest.predicted_seconds) / 2
    kept = decide(start, [CPU], Objective(kind="deadline", deadline_seconds_left=between), BATCHES)
    assert kept.met
    assert kept.predicted_seconds <= between
    assert free.predicted_usd < kept.predicted_usd < fastest.predicted_usd


def test_a_budget_takes_the_fastest_that_it_pays_for():
    start = replace(SEEN, now=None, spent_usd=3.0, observed=RAN)
    free = decide(start, [CPU], Objective(value_of_hour_usd=0), BATCHES)
    fastest = decide(start, [CPU], Objective(value_of_hour_usd=1e6), BATCHES)
    between = free.predicted_usd / 4 + fastest.predicted_usd * 3 / 4  # the doubts' margin fits in
    kept = decide(start, [CPU], Objective(kind="budget", budget_usd=3 + between), BATCHES)
    assert kept.met
    assert kept.predicted_usd <= between
    assert fastest.predicted_seconds < kept.predicted_seconds < free.predicted_seconds


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (Objective(kind="deadline", deadline_seconds_left=60), r"60 s is left, the nearest .* min"),
        (Objective(kind="budget", budget_usd=0.01), r"\$0.01 is left, the nearest .* is \$"),
        (Objective(budget_usd=0.01), r"\$0.01 is left, the nearest"),
    ],
    ids=["deadline", "budget", "balanced with a budget"],
)
def test_what_nothing_meets_is_told_with_the_nearest_that_can_be(objective, says):
    decision = decide(replace(SEEN, now=None), [CPU], objective, BATCHES)
    assert not decision.met
    assert re.search(says, decision.reason), decision.reason
    extreme = 1e6 if objective.kind == "deadline" else 0.0
    nearest = decide(replace(SEEN, now=None), [CPU], Objective(value_of_hour_usd=extreme), BATCHES)
    if objective.kind == "deadline":
        assert decision.predicted_seconds == pytest.approx(nearest.predicted_seconds, rel=0.02)
    else:
        assert decision.predicted_usd == pytest.approx(nearest.predicted_usd, rel=0.02)


def test_a_spent_budget_and_a_deadline_that_has_come_stop_the_run():
    budget = Objective(budget_usd=10.0)
    rich = replace(SEEN, spent_usd=9.0, stop_seconds=10.0)
    assert decide(rich, [CPU], budget, BATCHES).stop is None
    poor = replace(SEEN, spent_usd=10 - 2 * 9 / 3600, stop_seconds=10.0)
    stopped = decide(poor, [CPU], budget, BATCHES)
    assert stopped.stop == "budget"
    assert "would remain" in stopped.reason
    late = Objective(kind="deadline", deadline_seconds_left=5.0)
    assert decide(replace(SEEN, stop_seconds=10.0), [CPU], late, BATCHES).stop == "deadline"


def test_a_run_that_ends_within_its_limit_is_not_stopped():
    nearly = replace(
        SEEN, remaining_progress_examples=128.0, spent_usd=10 - 9 * 2 / 3600, stop_seconds=10.0
    )
    assert decide(nearly, [CPU], Objective(budget_usd=10.0), BATCHES).stop is None


def test_a_present_size_that_is_not_offered_is_left():
    seen = replace(SEEN, now=Size("cpu", 8, 128), restart_seconds=1e4)
    decision = decide(seen, [replace(CPU, max_workers=4)], BALANCED, BATCHES)
    assert decision.size.workers <= 4
    assert "cannot be kept" in decision.reason


def test_whole_shards_are_what_workers_take():
    seen = replace(SEEN, now=None, shards=4)
    decision = decide(seen, [CPU], Objective(value_of_hour_usd=1000), BATCHES)
    assert decision.size.workers in (1, 2, 4)  # three would wait for the one with two of four


def test_memory_that_does_not_hold_a_batch_is_answered_by_accumulation():
    small = replace(CPU, most_examples=64)
    seen = replace(SEEN, now=None, base_batch=1024, noise=())
    decision = decide(seen, [replace(small, counts=(2,))], BALANCED, [1024])
    passes = 1024 / 2 / 64
    step = step_seconds(FITTED.model, 2, 64, 1, int(passes))
    assert decision.predicted_seconds == pytest.approx(5e6 / 1024 * step)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Objective(kind="budget", budget_usd=0.0), "budget must be above 0"),
        (lambda: Objective(kind="budget"), "needs a budget"),
        (lambda: Objective(kind="deadline"), "needs a deadline"),
        (lambda: Objective(value_of_hour_usd=-1.0), "value_of_hour must be 0 or more"),
        (lambda: replace(CPU, min_workers=9), "min at most max"),
        (lambda: replace(CPU, price_usd_per_hour=-1.0), "a price"),
        (lambda: replace(CPU, counts=(16,)), "widen min and max"),
        (lambda: replace(SEEN, remaining_progress_examples=0.0), "progress that remains"),
        (lambda: decide(SEEN, [CPU], BALANCED, []), "expected batches of 128"),
        (lambda: decide(SEEN, [CPU], BALANCED, [64]), "expected batches of 128"),
        (lambda: decide(SEEN, [replace(CPU, machine_type="x")], BALANCED, BATCHES), "profile one"),
        (lambda: decide(SEEN, [], BALANCED, BATCHES), "profile one"),
        (lambda: decide(SEEN, [replace(CPU, least_examples=5000)], BALANCED, BATCHES), "can hold"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_refused_with_a_remedy(call, says):
    with pytest.raises(SpecError, match=says):
        call()


@pytest.mark.timing
def test_a_decision_over_a_catalogue_is_quick():
    names = [f"type{i}" for i in range(8)]
    offers = [
        replace(CPU, machine_type=n, price_usd_per_hour=1 + i, max_workers=32)
        for i, n in enumerate(names)
    ]
    noise = tuple(NoiseSeen(1e4 * i, 128, 20.0 * i) for i in range(1, 201))
    seen = replace(
        SEEN, fitted=dict.fromkeys(names, FITTED), noise=noise, now=Size("type0", 2, 128)
    )
    for objective in (BALANCED, Objective(kind="deadline", deadline_seconds_left=1000.0)):
        took = []
        for _ in range(5):
            began = time.process_time()
            decision = decide(seen, offers, objective, BATCHES)
            took.append(time.process_time() - began)
        assert math.isfinite(decision.predicted_usd)
        assert min(took) < 0.8


def test_a_larger_batch_is_tried_until_what_the_noise_does_with_it_is_known():
    two = replace(CPU, counts=(2,))
    unsure = tuple(NoiseSeen(10.0 * 2**i, 128, 300.0) for i in range(14))
    known = tuple(NoiseSeen(1e5 * (1 + i / 1000), b, 300.0) for i in range(20) for b in (128, 512))
    tried = decide(replace(SEEN, noise=unsure), [two], BALANCED, BATCHES)
    assert tried.size.batch_size > 128
    assert f"batch {tried.size.batch_size} from now" in tried.reason
    assert decide(replace(SEEN, noise=known), [two], BALANCED, BATCHES).size == SEEN.now


def test_where_only_luck_keeps_a_deadline_the_plan_is_one_that_luck_can_help():
    stretch = np.array([[100.0, 150.0], [100.0, 60.0]]) / STRETCHES  # case × size
    seconds = np.repeat(stretch[:, None, :], STRETCHES, axis=1)
    course = Course(np.array([0.9, 0.1]), seconds, np.ones(2), np.zeros(2), 0.0, 1, None)
    for left, size in ((70.0, 1), (50.0, 1), (120.0, 0)):
        plans, best = _choose(course, Objective(kind="deadline", deadline_seconds_left=left), 0.0)
        assert size in plans.sizes[best]
        assert plans.seconds_low[best] <= max(left, 60.0 + 1e-9)
