import itertools

import numpy as np
import pytest

from tally.scaling.planning import Course, programme, totals, within_limits


def course(seed, stretches=4, sizes=3, now=0, cases=1, known_from=1):
    rng = np.random.default_rng(seed)
    return Course(
        cases=np.full(cases, 1 / cases),
        seconds=rng.uniform(1, 10, (cases, stretches, sizes)),
        usd_per_second=rng.uniform(0.5, 2, sizes),
        doubt=rng.uniform(0, 0.1, sizes),
        restart_seconds=rng.uniform(0, 5),
        known_from=known_from,
        now=now,
    )


def every_plan(of):
    _, stretches, sizes = of.seconds.shape
    return totals(of, np.array(list(itertools.product(range(sizes), repeat=stretches))))


@pytest.mark.parametrize("now", [None, -1, 0, 2], ids=str)
@pytest.mark.parametrize("seed", range(10))
def test_the_programme_finds_the_best_of_all_plans(seed, now):
    of = course(seed, now=now)
    weights = np.array([[1.0, 0.0], [1.0, 0.7], [0.0, 1.0]])
    found = totals(of, programme(of, weights[:, 0], weights[:, 1]))
    brute = every_plan(of)
    for i, (per_usd, per_second) in enumerate(weights):
        best = (per_usd * brute.usd + per_second * brute.seconds).min()
        assert per_usd * found.usd[i] + per_second * found.seconds[i] == pytest.approx(best)


def best_from(of, case, first):
    """What the rest of a plan costs at least, in dollars, once the case is known."""
    alone = Course(
        np.ones(1), of.seconds[case : case + 1, 1:], of.usd_per_second, of.doubt,
        of.restart_seconds, 1, first,
    )  # fmt: skip
    return every_plan(alone).usd.min()


@pytest.mark.parametrize("seed", range(10))
def test_the_first_size_is_the_one_from_which_every_case_is_answered_best(seed):
    of = course(seed, cases=3)
    cost = [
        np.mean(
            [
                of.seconds[case, 0, n] * of.usd_per_second[n] + best_from(of, case, n)
                for case in range(3)
            ]
        )
        + (n != of.now) * of.restart_seconds * of.usd_per_second[n]
        for n in range(3)
    ]
    plan = programme(of, np.ones(1), np.zeros(1))[0]
    assert plan[0] == np.argmin(cost)


@pytest.mark.parametrize("seed", range(10))
def test_before_the_case_is_known_the_mean_of_all_counts(seed):
    of = course(seed, cases=3, known_from=4)
    found = totals(of, programme(of, np.ones(1), np.zeros(1)))
    assert found.usd[0] == pytest.approx(every_plan(of).usd.min())


@pytest.mark.parametrize("seed", range(20))
def test_under_a_limit_a_plan_near_the_best_is_among_those_tried(seed):
    of = course(seed, stretches=6)
    brute, tried = every_plan(of), within_limits(of)
    for limit in np.linspace(brute.seconds_high.min(), brute.seconds_high.max(), 5):
        best = brute.usd[brute.seconds_high <= limit].min()
        assert tried.usd[tried.seconds_high <= limit + 1e-9].min() <= 1.25 * best
