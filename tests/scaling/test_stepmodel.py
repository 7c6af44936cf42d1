"""What a step-time model says, for any coefficients."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.errors import SpecError
from tally.scaling.stepmodel import StepTime, grad_seconds, growth, step_seconds, sync_seconds

SECONDS = st.floats(1e-6, 1e3)
MODELS = st.builds(
    StepTime,
    grad_base_seconds=SECONDS,
    grad_example_seconds=SECONDS,
    sync_base_seconds=SECONDS,
    sync_growth_seconds=SECONDS,
    sync_nodes_base_seconds=SECONDS,
    sync_nodes_growth_seconds=SECONDS,
    gamma=st.floats(1, 10),
    log2_weight=st.floats(0, 1),
)
EXAMPLES = st.integers(1, 10_000)
SLACK = 1 + 1e-9


@given(MODELS, EXAMPLES, st.integers(1, 64))
def test_one_worker_takes_its_passes_and_nothing_else(model, examples, passes):
    alone = step_seconds(model, 1, examples, accumulation=passes)
    assert alone == pytest.approx(passes * grad_seconds(model, examples))


@given(MODELS, st.integers(2, 4096), EXAMPLES, st.booleans())
def test_a_step_takes_at_least_the_longer_of_pass_and_sync_and_at_most_both(
    model, workers, examples, across
):
    nodes = workers if across else 1
    grad, sync = grad_seconds(model, examples), sync_seconds(model, workers, nodes)
    step = step_seconds(model, workers, examples, nodes)
    assert max(grad, sync) <= step * SLACK
    assert step <= (grad + sync) * SLACK


@given(MODELS, st.integers(1, 2048), EXAMPLES)
def test_more_workers_of_as_many_examples_never_take_less(model, workers, examples):
    more = step_seconds(model, workers * 2, examples)
    assert step_seconds(model, workers, examples) <= more * SLACK


@given(MODELS, st.integers(1, 64), EXAMPLES, st.integers(1, 16))
def test_each_further_pass_of_a_step_adds_one_pass(model, workers, examples, passes):
    first = step_seconds(model, workers, examples)
    step = step_seconds(model, workers, examples, accumulation=passes)
    assert step == pytest.approx(first + (passes - 1) * grad_seconds(model, examples))


def test_gamma_of_one_adds_and_a_larger_one_overlaps():
    model = StepTime(grad_base_seconds=3, grad_example_seconds=0, sync_base_seconds=4)
    assert step_seconds(model, 2, 1) == pytest.approx(7)
    assert step_seconds(replace(model, gamma=2), 2, 1) == pytest.approx(5)


def test_a_ring_grows_to_a_bound_and_log2_by_one_with_each_doubling():
    assert [growth(k, 0) for k in (1, 2, 4, 8, 4096)] == pytest.approx([0, 0, 0.5, 0.75, 0.9995117])
    assert [growth(k, 1) for k in (1, 2, 4, 8, 4096)] == pytest.approx([0, 0, 1, 2, 11])
    assert growth(8, 0.25) == pytest.approx(0.75 * 0.75 + 0.25 * 2)


def test_several_nodes_have_a_sync_of_their_own():
    model = StepTime(
        grad_base_seconds=0, grad_example_seconds=1,
        sync_base_seconds=1, sync_growth_seconds=2,
        sync_nodes_base_seconds=10, sync_nodes_growth_seconds=20,
    )  # fmt: skip
    assert [sync_seconds(model, 4, nodes) for nodes in (1, 2, 4)] == [2, 20, 20]


@pytest.mark.parametrize(
    ("size", "named"),
    [
        ((0, 8, 1, 1), "workers"),
        ((1, 8, 1, 0), "passes a step"),
        ((2, 8, 3, 1), "1 to 2 nodes"),
        ((2, 8, 0, 1), "1 to 2 nodes"),
        ((2, 0, 1, 1), "examples a worker above 0"),
        ((2, float("nan"), 1, 1), "examples a worker above 0"),
    ],
    ids=str,
)
def test_a_size_that_no_gang_has_is_refused(size, named):
    with pytest.raises(SpecError, match=named):
        step_seconds(StepTime(grad_base_seconds=1, grad_example_seconds=1), *size)


@pytest.mark.parametrize(
    "wrong",
    [{"gamma": 0.5}, {"gamma": 11.0}, {"log2_weight": 1.5}, {"sync_base_seconds": -1.0},
     {"grad_base_seconds": float("inf")}, {"grad_example_seconds": float("nan")}],
    ids=str,
)  # fmt: skip
def test_coefficients_out_of_range_are_named(wrong):
    with pytest.raises(SpecError, match=next(iter(wrong))):
        StepTime(**{"grad_base_seconds": 1.0, "grad_example_seconds": 1.0, **wrong})
