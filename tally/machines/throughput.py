"""What training gets out of a machine type, from what its makers list: a first guess. Pure.

Peaks are the makers' own for float32 as TensorFlow uses it (TensorFloat-32 on NVIDIA's from Ampere
on, bfloat16 on TPUs), out of their data sheets. Training gets a part of them: EFFICIENCY. Small
models get far less, since each operation has to be launched: `step_seconds` is that. Every quote
made of these shows at least ± SPREAD.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tally.machines.machine_type import MachineType

SPREAD = 0.3  # of what is listed only, at least
EFFICIENCY = 0.35  # of an accelerator's peak, and of its memory's
CORE_FLOPS_PER_SECOND = 40e9  # that training gets out of a core of a server (measured, x86 AVX-512)
HOST_BYTES_PER_SECOND = 20e9  # of a machine's memory
NETWORK_BYTES_PER_SECOND = 1.0e9  # between nodes: 10 Gbit/s less overhead
NODE_BYTES_PER_SECOND = 2.0e9  # between processes of one machine, through their sockets
NETWORK_SECONDS, NODE_SECONDS = 400e-6, 150e-6  # of one sum over two workers, whatever its size
CPU_STEP_SECONDS, ACCELERATOR_STEP_SECONDS = 0.5e-3, 2.5e-3  # launching a step's operations
_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One device's data sheet."""

    flops_per_second: float
    bytes_per_second: float
    memory_bytes: int
    source: str


ACCELERATORS: Mapping[str, Accelerator] = {
    name: Accelerator(
        flops_per_second=tera * 1e12, bytes_per_second=giga * 1e9, memory_bytes=gib * _GIB,
        source=source,
    )
    for name, tera, giga, gib, source in (
        ("nvidia-t4", 8.1, 320, 16, "NVIDIA T4 data sheet, 2019: FP32"),
        ("nvidia-a10g", 70, 600, 24, "NVIDIA A10G, as of AWS G5: TF32"),
        ("nvidia-l4", 60, 300, 24, "NVIDIA L4 data sheet, 2023: TF32 without sparsity"),
        ("nvidia-tesla-a100", 156, 1555, 40, "NVIDIA A100 data sheet, 2021: TF32"),
        ("nvidia-a100-40gb", 156, 1555, 40, "NVIDIA A100 data sheet, 2021: TF32"),
        ("nvidia-a100-80gb", 156, 1935, 80, "NVIDIA A100 data sheet, 2021: TF32"),
        ("nvidia-h100-80gb", 495, 3350, 80, "NVIDIA H100 data sheet, 2023: TF32"),
        ("tpu-v5-lite-podslice", 197, 819, 16, "Cloud TPU v5e documentation: bfloat16"),
        ("tpu-v5-lite", 197, 819, 16, "Cloud TPU v5e documentation: bfloat16"),
        ("tpu-v6e", 918, 1640, 32, "Cloud TPU v6e documentation: bfloat16"),
        ("tpu-v6e-slice", 918, 1640, 32, "Cloud TPU v6e documentation: bfloat16"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What one worker that has a machine of a type to itself may expect.

    Attributes:
        flops_per_second, bytes_per_second: effective, over all its cores or accelerators.
        step_seconds: of any step, however small.
        memory_bytes: of what holds the model: the accelerators' together, or the worker's own.
        on_accelerator: whether memory_bytes is accelerators'.
    """

    flops_per_second: float
    bytes_per_second: float
    step_seconds: float
    memory_bytes: int | None
    on_accelerator: bool


def throughput(machine: MachineType) -> Throughput | None:
    """The effective throughput of a machine type; None where its accelerator is not known here."""
    if machine.accelerator:
        device = ACCELERATORS.get(machine.accelerator)
        if device is None:
            return None
        count = machine.accelerator_count
        return Throughput(
            flops_per_second=device.flops_per_second * count * EFFICIENCY,
            bytes_per_second=device.bytes_per_second * count * EFFICIENCY,
            step_seconds=ACCELERATOR_STEP_SECONDS,
            memory_bytes=device.memory_bytes * count,
            on_accelerator=True,
        )
    shape = machine.kubernetes
    cores = shape.cpu_cores if shape else machine.cpu_cores
    memory = shape.memory_bytes if shape else None
    if memory is None and machine.memory_gib:
        memory = int(machine.memory_gib * _GIB)
    return of_cores(cores or 1.0, memory)


def of_cores(cores: float, memory_bytes: int | None) -> Throughput:
    """The effective throughput of so many cores."""
    return Throughput(
        flops_per_second=CORE_FLOPS_PER_SECOND * cores,
        bytes_per_second=HOST_BYTES_PER_SECOND,
        step_seconds=CPU_STEP_SECONDS,
        memory_bytes=memory_bytes,
        on_accelerator=False,
    )
