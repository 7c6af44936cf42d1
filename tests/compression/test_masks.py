import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tally.compression.masks import magnitude, sparsity_at, two_of_four

WEIGHTS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=9),
    elements=st.floats(-4, 4, width=16),
)


@given(WEIGHTS, st.floats(0, 1))
def test_the_smallest_weights_go_and_exactly_as_many_as_asked(weights, sparsity: float) -> None:
    kept = magnitude(weights, sparsity)
    assert kept.shape == weights.shape
    assert (~kept).sum() == round(sparsity * weights.size)
    if kept.any() and not kept.all():
        assert np.abs(weights[kept]).min() >= np.abs(weights[~kept]).max()


@given(WEIGHTS)
def test_of_each_four_that_feed_an_output_the_two_largest_stay(weights) -> None:
    kept = two_of_four(weights)
    rows = weights.shape[-1]
    flat, by_row = kept.reshape(-1, rows), np.abs(weights).reshape(-1, rows)
    for first in range(0, len(flat), 4):
        four, sizes = flat[first : first + 4], by_row[first : first + 4]
        if len(four) < 4:
            assert four.all()
            continue
        assert (four.sum(axis=0) == 2).all()
        for column in range(rows):
            stays = four[:, column]
            assert sizes[stays, column].min() >= sizes[~stays, column].max()


def test_sparsity_grows_fast_and_then_slowly_up_to_its_end() -> None:
    shares = [sparsity_at(step / 100, 0.8) for step in range(101)]
    grown = np.diff(shares)
    assert shares[0] == 0 and shares[-1] == 0.8 and (grown > 0).all()
    assert (np.diff(grown) < 0).all()
    assert sparsity_at(0.5, 0.8) == 0.8 * (1 - 0.5**3)
    assert sparsity_at(2.0, 0.8) == 0.8 and sparsity_at(-1.0, 0.8) == 0
