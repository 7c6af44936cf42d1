"""A node's price among its resources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.errors import SpecError
from tally.machines.shares import Weights, price_shares

pytestmark = pytest.mark.exact

GIB = 2**30


def test_a_machine_of_cores_and_memory_is_divided_as_opencost_does() -> None:
    shares = price_shares(4, 16 * GIB, 0)
    assert shares.cpu == pytest.approx(4 * 0.031611 / (4 * 0.031611 + 16 * 0.004237))
    assert shares.accelerator == 0


def test_a_gpu_counts_as_thirty_cores() -> None:
    shares = price_shares(4, 16 * GIB, 1)
    assert shares.accelerator / shares.cpu == pytest.approx(0.95 / (4 * 0.031611))


def test_a_provider_may_have_weights_of_its_own() -> None:
    weights = Weights(
        cpu_usd_per_core_hour=1, memory_usd_per_gib_hour=0, accelerator_usd_per_hour=6
    )
    shares = price_shares(2, GIB, 1, weights)
    assert (shares.cpu, shares.memory, shares.accelerator) == (0.25, 0, 0.75)


@given(
    cores=st.floats(0.001, 10_000),
    memory=st.integers(0, 2**50),
    accelerators=st.floats(0, 1000),
)
def test_shares_add_up_to_one_exactly(cores: float, memory: int, accelerators: float) -> None:
    shares = price_shares(cores, memory, accelerators)
    parts = (shares.cpu, shares.memory, shares.accelerator)
    assert sum(parts) == sum(reversed(parts)) == 1
    assert min(parts) >= 0


@pytest.mark.parametrize(("cores", "memory", "accelerators"), [(0, 1, 0), (1, -1, 0), (1, 1, -1)])
def test_a_node_without_cores_is_refused(cores: float, memory: int, accelerators: float) -> None:
    with pytest.raises(SpecError, match="expected cores above 0"):
        price_shares(cores, memory, accelerators)
