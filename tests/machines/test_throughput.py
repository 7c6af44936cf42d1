"""First guesses from data sheets: every machine type of the catalogue has one."""

import pytest

from tally.machines.catalogue import load
from tally.machines.machine_type import MachineType
from tally.machines.throughput import throughput


@pytest.mark.parametrize("machine", load().machine_types.values(), ids=lambda one: one.name)
def test_every_packaged_machine_type_has_a_throughput(machine: MachineType) -> None:
    found = throughput(machine)
    assert found is not None, f"{machine.accelerator} is not in ACCELERATORS"
    assert found.on_accelerator == bool(machine.accelerator)
    assert 1e9 < found.flops_per_second < 1e16


def test_an_accelerator_that_nobody_listed_has_none() -> None:
    known = load().machine("g2-standard-4")
    assert throughput(known.model_copy(update={"accelerator": "abacus"})) is None


def test_more_of_the_same_is_more() -> None:
    one, four = (throughput(load().machine(f"a2-highgpu-{k}g")) for k in (1, 4))
    assert one and four and one.memory_bytes and four.memory_bytes
    assert four.flops_per_second == pytest.approx(4 * one.flops_per_second)
    assert four.memory_bytes == 4 * one.memory_bytes
