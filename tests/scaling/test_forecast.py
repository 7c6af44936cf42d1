import math

import numpy as np
import pytest

from tally.scaling.forecast import CASES, NoiseSeen, forecast


def power_law(trend, slope, rng, error=0.3, count=120, batches=(128,)):
    """Measurements of B = 1000 · (progress ÷ 1e5)^trend · (batch ÷ 128)^slope."""
    return [
        NoiseSeen(
            progress,
            batch := batches[i % len(batches)],
            1000
            * (progress / 1e5) ** trend
            * (batch / 128) ** slope
            * math.exp(error * rng.standard_normal()),
        )
        for i, progress in enumerate(np.geomspace(1e4, 1e6, count))
    ]


@pytest.mark.parametrize("trend", [0.0, 0.5, 1.0])
def test_a_power_of_progress_is_carried_on(trend):
    errors = []
    for seed in range(20):
        seen = power_law(trend, 0.0, np.random.default_rng(seed))
        found = forecast(seen, 128)
        truth = 1000 * (3e6 / 1e5) ** trend
        errors.append(math.log(found.at(np.array([3e6]), 128)[0] / truth))
    assert abs(np.mean(errors)) < 0.3
    assert np.std(errors) < 0.5


def test_what_a_larger_batch_measures_is_learnt_from_batches_that_ran():
    seen = power_law(0.5, 0.5, np.random.default_rng(1), batches=(128, 512))
    found = forecast(seen, 512)
    assert found.slope == pytest.approx(0.5, abs=0.1)
    now = np.array([1e6])
    assert found.at(now, 128)[0] == pytest.approx(1000 * 10**0.5, rel=0.3)
    assert found.at(now, 512)[0] == pytest.approx(1000 * 10**0.5 * 2, rel=0.3)


def test_a_jump_is_believed_within_a_few_measurements():
    rng = np.random.default_rng(2)
    seen = power_law(0.2, 0.0, rng)
    after = [
        NoiseSeen(1e6 * (1 + 0.02 * i), 128, 8000 * math.exp(0.3 * rng.standard_normal()))
        for i in range(1, 21)
    ]
    assert math.exp(forecast(seen + after, 128).level) == pytest.approx(8000, rel=0.35)


def test_the_scale_is_never_forecast_to_fall():
    seen = power_law(-1.0, 0.0, np.random.default_rng(3))
    later = forecast(seen, 128).at(np.geomspace(1e6, 1e8, 20), 128)
    assert (np.diff(later) >= 0).all()


def test_what_may_come_narrows_once_several_batches_have_run():
    one = forecast(power_law(0.5, 0.3, np.random.default_rng(4)), 128)
    two = forecast(power_law(0.5, 0.3, np.random.default_rng(4), batches=(128, 512)), 128)
    assert two.slope_spread < one.slope_spread / 2
    now, larger = np.array([1e6]), 512
    widths = [np.ptp([case.at(now, larger) for case in found.cases()]) for found in (one, two)]
    assert widths[1] < widths[0]
    assert pytest.approx(1) == CASES.sum()
    assert len(one.cases()) == len(CASES)


@pytest.mark.parametrize("bad", [0.0, -5.0, math.nan, math.inf], ids=str)
def test_what_is_no_noise_scale_does_not_count(bad):
    assert forecast([NoiseSeen(10.0, 128, bad)], 128) is None
    seen = power_law(0.5, 0.0, np.random.default_rng(5))
    with_bad = [*seen, NoiseSeen(1.1e6, 128, bad)]
    assert forecast(with_bad, 128) == forecast(seen, 128)
