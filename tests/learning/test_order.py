"""The order of examples: every one once an epoch, whoever asks, whenever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.learning import order

pytestmark = pytest.mark.exact

seeds = st.integers(0, 2**31 - 1)
epochs = st.integers(0, 1000)
counts = st.integers(1, 3000)


@given(seeds, epochs, counts)
def test_an_epoch_holds_every_example_exactly_once(seed: int, epoch: int, examples: int) -> None:
    found = order.epoch_order(seed, epoch, examples)
    assert np.array_equal(np.sort(found), np.arange(examples))


@given(seeds, epochs, counts)
def test_an_order_depends_on_nothing_but_seed_and_epoch(
    seed: int, epoch: int, examples: int
) -> None:
    first = order.epoch_order(seed, epoch, examples)
    order.epoch_order(seed + 1, epoch, examples)
    np.random.default_rng().random(3)
    assert np.array_equal(first, order.epoch_order(seed, epoch, examples))


@given(seeds, epochs)
def test_epochs_and_seeds_differ(seed: int, epoch: int) -> None:
    first = order.epoch_order(seed, epoch, 500)
    assert not np.array_equal(first, order.epoch_order(seed, epoch + 1, 500))
    assert not np.array_equal(first, order.epoch_order(seed + 1, epoch, 500))


@given(counts, st.integers(1, 4000))
def test_batches_cover_an_epoch_without_dropping_the_tail(examples: int, batch: int) -> None:
    steps = order.steps_per_epoch(examples, batch)
    sizes = [len(np.arange(examples)[s * batch : (s + 1) * batch]) for s in range(steps)]
    assert sum(sizes) == examples
    assert min(sizes) > 0
    assert order.step_number(2, 0, examples, batch) == order.step_number(
        1, examples, examples, batch
    )


workers = st.integers(1, 12)


@given(counts, st.integers(1, 40), workers)
def test_every_row_of_a_step_has_one_shard_and_one_rank(
    examples: int, virtual_shards: int, world_size: int
) -> None:
    world_size = min(world_size, virtual_shards)
    bounds = order.shard_bounds(examples, virtual_shards)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, examples, virtual_shards + 1)
    assert np.ptp(np.diff(bounds)) <= 1, "shards are as equal as whole rows can be"
    assert np.diff(bounds).min() >= 0
    owned = [range(*order.share(r, world_size, virtual_shards)) for r in range(world_size)]
    assert [shard for shards in owned for shard in shards] == list(range(virtual_shards))


@given(counts, counts, st.integers(1, 40), workers)
def test_no_share_of_any_step_is_larger_than_what_is_compiled(
    batch: int, examples: int, virtual_shards: int, world_size: int
) -> None:
    world_size, examples = min(world_size, virtual_shards), min(examples, batch)
    bounds = order.shard_bounds(examples, virtual_shards)
    shares = [order.share(rank, world_size, virtual_shards) for rank in range(world_size)]
    largest = max(bounds[end] - bounds[begin] for begin, end in shares)
    assert largest <= order.largest_share(batch, world_size, virtual_shards) <= batch
