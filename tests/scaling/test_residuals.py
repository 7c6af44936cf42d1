import math

import pytest

from tally.scaling.residuals import LEAST_SPREAD, corrected
from tally.scaling.stepfit import Observation, fit
from tally.scaling.stepmodel import StepTime, step_seconds

FITTED = fit(
    [],
    prior=StepTime(
        grad_base_seconds=0.02,
        grad_example_seconds=0.001,
        sync_base_seconds=0.03,
        sync_growth_seconds=0.02,
        sync_nodes_base_seconds=0.1,
        sync_nodes_growth_seconds=0.05,
    ),
)
ASKED = [(k, 1, m, 1) for k in (1, 2, 4, 8, 64) for m in (32, 128)]


def seen(workers, examples, factor, weight=10.0):
    step = factor * step_seconds(FITTED.model, workers, examples)
    return Observation(
        workers=workers, examples_per_worker=examples, step_seconds=step, weight=weight
    )


def test_without_observations_the_model_is_what_is_expected():
    seconds, doubt = corrected(FITTED, [], ASKED)
    assert seconds == pytest.approx([step_seconds(FITTED.model, k, m) for k, _, m, _ in ASKED])
    assert (doubt > 0.1).all()


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.3, 3.0])
def test_a_size_that_ran_is_expected_to_go_on_as_it_did(factor):
    seconds, doubt = corrected(FITTED, [seen(4, 128, factor)], [(4, 1, 128, 1)])
    ratio = seconds[0] / step_seconds(FITTED.model, 4, 128)
    assert math.log(ratio) == pytest.approx(math.log(factor), rel=0.15, abs=1e-9)
    assert LEAST_SPREAD <= doubt[0] < 0.05


def test_the_nearer_a_size_the_more_it_is_corrected():
    seconds, doubt = corrected(FITTED, [seen(4, 128, 2.0)], ASKED)
    ratio = {
        (k, m): s / step_seconds(FITTED.model, k, m)
        for (k, _, m, _), s in zip(ASKED, seconds, strict=True)
    }
    assert ratio[4, 128] > ratio[8, 128] > ratio[64, 128] >= 1
    assert ratio[4, 128] > ratio[4, 32] > 1
    order = [ASKED.index((k, 1, 128, 1)) for k in (4, 8, 64)]
    assert doubt[order[0]] < doubt[order[1]] < doubt[order[2]]


def test_many_steps_are_believed_more_than_few():
    few, many = (
        corrected(FITTED, [seen(4, 128, 2.0, weight)], [(4, 1, 128, 1)])[0][0]
        for weight in (0.2, 10.0)
    )
    assert step_seconds(FITTED.model, 4, 128) < few < many
