import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.errors import SpecError
from tally.scaling.goodput import efficiency, gain, goodput

noises = st.floats(0, 1e9)
bases = st.integers(1, 10_000)
factors = st.floats(1, 1000)


@given(noises, bases, factors)
def test_an_example_is_never_worth_more_than_at_the_base_batch(noise, base, factor):
    assert 0 < efficiency(noise, base, base * factor) <= 1
    assert efficiency(noise, base, base) == pytest.approx(1)


@given(noises, bases, factors, factors)
def test_a_larger_batch_makes_more_progress_a_step_and_less_an_example(noise, base, one, other):
    small, large = sorted((base * one, base * other))
    assert gain(noise, base, small) <= gain(noise, base, large) * (1 + 1e-12)
    assert efficiency(noise, base, small) * (1 + 1e-12) >= efficiency(noise, base, large)


@given(noises, bases, factors)
def test_a_step_is_worth_between_one_of_the_base_batch_and_all_its_examples(noise, base, factor):
    assert 1 - 1e-12 <= gain(noise, base, base * factor) <= factor * (1 + 1e-12)


def test_a_step_is_worth_what_mccandlish_says():
    # gain of AdaScale: (variance + 1) / (variance / scale + 1), variance = noise scale / base batch
    assert gain(300.0, 100, 400) == pytest.approx((3 + 1) / (3 / 4 + 1))


def test_goodput_is_progress_of_a_step_by_its_seconds_for_numbers_and_arrays():
    noise = np.array([0.0, 300.0])
    assert goodput(noise, 100, 400, 2.0) == pytest.approx(gain(noise, 100, 400) * 100 / 2.0)


@pytest.mark.parametrize(("base", "batch"), [(100, 99), (0, 10), (-1, 10)], ids=str)
def test_a_batch_below_the_base_batch_is_refused(base, batch):
    with pytest.raises(SpecError, match="at least the base batch"):
        efficiency(10.0, base, batch)


def test_a_step_without_duration_is_refused():
    with pytest.raises(SpecError, match="more than 0 s"):
        goodput(10.0, 100, 100, 0.0)
