"""Every size that a run could have, with its step time: measured, extrapolated or listed."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tally.costing.pace import Pace
from tally.costing.plan import LOCAL, Basis
from tally.costing.quote import Candidate, Range, symmetric
from tally.data.format import Dataset
from tally.machines import throughput as listed
from tally.machines.machine_type import MachineType
from tally.machines.shares import OPENCOST, price_shares
from tally.machines.throughput import Throughput
from tally.models import memory, registry
from tally.scaling.listed import listed_step
from tally.scaling.stepfit import Fitted, Observation, fit, interval
from tally.scaling.stepmodel import StepTime
from tally.spec import Spec
from tally.steps.profiles import examples_per_worker

_GIB = 2**30
_ANY_CORES, _ANY_GIB = 1.0, 2.0  # of a pod without a machine type
Start = Callable[[int], Range]
"""Seconds beside the steps in the train step, of so many workers."""

_MOST_LISTED = 8  # workers of a machine type elsewhere that a quote looks at


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Step times on one machine type.

    Attributes:
        fitted: to what was measured, or only the prior.
        measured: by number of workers.
        prior: from closed forms and the catalogue.
        cores: that the workers share, where they share one machine.
    """

    fitted: Fitted
    measured: Mapping[int, Pace]
    prior: StepTime
    cores: int | None = None

    def step(self, spec: Spec, workers: int, nodes: int) -> tuple[Range, Basis]:
        """Seconds of a full step, and where they are from."""
        if found := self.measured.get(workers):
            return found.seconds, "measured"
        examples = examples_per_worker(spec, workers)
        expected = interval(self.fitted, workers, examples, nodes)
        slower = max(1.0, workers / self.cores) if self.cores else 1.0
        largest = max(self.measured, default=0)
        if largest and self.cores:
            slower /= max(1.0, largest / self.cores)
        found_range = Range(expected.low, expected.expected, expected.high).times(slower)
        if self.measured:
            return found_range, "extrapolated"
        half = max(listed.SPREAD, found_range.half_width)
        return symmetric(found_range.expected, half), "listed"


def timing(
    spec: Spec, dataset: Dataset, of: Throughput, seen: Mapping[int, Pace], *, here: bool
) -> Timing:
    """Step times on a machine type, from its throughput and what was measured on it."""
    prior = listed_step(registry.cost(spec.model, dataset.meta), of)
    observed = [
        observation(spec, workers, one, nodes=1 if here else workers)
        for workers, one in seen.items()
    ]
    cores = (os.cpu_count() or 1) if here else None
    return Timing(fitted=fit(observed, prior), measured=seen, prior=prior, cores=cores)


def observation(spec: Spec, workers: int, seen: Pace, nodes: int) -> Observation:
    """A profile as the step-time model takes it."""
    seconds = seen.seconds.expected
    sync = seen.newest.document.get("sync_seconds")
    return Observation(
        workers=workers,
        nodes=nodes,
        examples_per_worker=examples_per_worker(spec, workers),
        step_seconds=seconds,
        sync_seconds=min(float(sync), seconds) if sync else None,
    )


def here(
    machine: MachineType, spec: Spec, dataset: Dataset, of: Timing, start: Start
) -> list[Candidate]:
    """The sizes of this machine: one worker to as many as it has cores, or as the run may have."""
    cores = os.cpu_count() or 1
    most = min(spec.virtual_shards, max(cores, spec.most_workers))
    steps = full_steps(spec, dataset)
    found = []
    for workers in range(1, most + 1):
        step, basis = of.step(spec, workers, nodes=1)
        found.append(
            Candidate(
                machine_type=LOCAL,
                workers=workers,
                machines=1,
                price_usd_per_hour=machine.price_usd_per_hour,
                software_usd_per_hour=machine.software_usd_per_hour,
                basis=basis,
                step=step,
                steps=steps,
                start=start(workers),
                excluded=too_large(spec, dataset, workers, workers, _memory_here(), False),
                allowed=spec.fewest_workers <= workers <= spec.most_workers,
            )
        )
    return found


def elsewhere(
    machine: MachineType, spec: Spec, dataset: Dataset, of: Timing, start: Start,
    *, allowed: bool,
) -> list[Candidate]:  # fmt: skip
    """The sizes of a machine type of a cluster, a machine a worker."""
    room = listed.throughput(machine)
    share = _share(machine)
    steps = full_steps(spec, dataset)
    found = []
    for workers in _counts(spec):
        step, basis = of.step(spec, workers, nodes=workers)
        excluded = (
            f"has an accelerator, {machine.accelerator}, whose throughput is not known"
            if room is None
            else too_large(spec, dataset, workers, 1, room.memory_bytes, room.on_accelerator)
        )
        found.append(
            Candidate(
                machine_type=machine.name,
                workers=workers,
                machines=workers,
                price_usd_per_hour=machine.price_usd_per_hour * share,
                software_usd_per_hour=machine.software_usd_per_hour * share,
                basis=basis,
                step=step,
                steps=steps,
                start=start(workers),
                excluded=excluded,
                allowed=allowed and spec.fewest_workers <= workers <= spec.most_workers,
            )
        )
    return found


def any_node(spec: Spec, dataset: Dataset, of: Timing, start: Start) -> list[Candidate]:
    """Pods of one core and 2 GiB each: what workers without a machine type are."""
    price = (
        _ANY_CORES * OPENCOST.cpu_usd_per_core_hour + _ANY_GIB * OPENCOST.memory_usd_per_gib_hour
    )
    found = []
    for workers in _counts(spec):
        step, basis = of.step(spec, workers, nodes=workers)
        found.append(
            Candidate(
                machine_type="",
                workers=workers,
                machines=workers,
                price_usd_per_hour=price,
                software_usd_per_hour=0.0,
                basis=basis,
                step=step,
                steps=full_steps(spec, dataset),
                start=start(workers),
                excluded=too_large(spec, dataset, workers, 1, int(_ANY_GIB * _GIB), False),
                allowed=spec.fewest_workers <= workers <= spec.most_workers,
            )
        )
    return found


def full_steps(spec: Spec, dataset: Dataset) -> float:
    """Steps of the whole training, in full ones: paces are means over whole epochs."""
    return spec.epochs * len(dataset.splits["train"]) / spec.batch_size


def too_large(
    spec: Spec, dataset: Dataset, workers: int, together: int, room: int | None, on_device: bool
) -> str:
    """Why workers do not fit into the memory that there is, "" where they do or it is not known.

    Args:
        workers: of the gang.
        together: workers that share the room.
        room: bytes; None where it is not known.
        on_device: whether it is an accelerator's, where the framework takes none.
    """
    cost = registry.cost(spec.model, dataset.meta)
    if cost is None or room is None:
        return ""
    numbers = math.prod(dataset.meta.input_shape)
    need = memory.training_memory(cost, examples_per_worker(spec, workers), numbers)
    wanted = together * (need.of_model if on_device else need.total)
    if wanted <= room:
        return ""
    return f"needs {wanted / _GIB:.1f} GiB of memory and has {room / _GIB:.1f}"


def _memory_here() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _counts(spec: Spec) -> Sequence[int]:
    """Numbers of workers of another machine type: what the run may have, else a few."""
    fewest, most = spec.fewest_workers, min(spec.most_workers, spec.virtual_shards)
    if most - fewest < _MOST_LISTED:
        return range(fewest, most + 1)
    step = -(-(most - fewest) // (_MOST_LISTED - 1))
    return sorted({*range(fewest, most, step), most})


def _share(machine: MachineType) -> float:
    """The part of a node's price that a worker holds which has it to itself, as bills count it."""
    shape = machine.kubernetes
    if shape is None or not machine.cpu_cores or not machine.memory_gib:
        return 1.0
    parts = price_shares(
        machine.cpu_cores, int(machine.memory_gib * _GIB), machine.accelerator_count,
        machine.weights,
    )  # fmt: skip
    return (
        parts.cpu * shape.cpu_cores / machine.cpu_cores
        + parts.memory * shape.memory_gib / machine.memory_gib
        + parts.accelerator
    )
