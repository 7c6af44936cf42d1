"""From a quote's pick to the plan that the conductor goes on from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tally.costing.plan import LOCAL, Plan, PlannedOffer, PlannedStep
from tally.costing.quote import SECONDS_PER_HOUR, Others, Row
from tally.machines.machine_type import MachineType
from tally.spec import Spec
from tally.steps import sizes
from tally.steps.asked import Asked
from tally.steps.sizes import Timing


def planned(
    asked: Asked,
    rows: Sequence[Row],
    picked: Row,
    why: str,
    others: Others,
    timings: Mapping[str, Timing],
    machines: Mapping[str, MachineType],
) -> Plan:
    """The plan of the picked size.

    Args:
        asked: the run.
        rows: of the quote.
        picked: the size to begin with.
        why: it was picked.
        others: what is not training.
        timings: step times by machine type that the run may be on.
        machines: those of the catalogue among them.
    """
    spec, size = asked.spec, picked.candidate
    hourly = others.usd_per_hour + others.software_usd_per_hour + others.value_of_hour_usd
    return Plan(
        machine_type=size.machine_type,
        workers=size.workers,
        batch_size=spec.batch_size,
        min_workers=spec.fewest_workers,
        max_workers=spec.most_workers,
        largest_batch=spec.largest_batch,
        adaptive_batch=spec.batch == "adaptive",
        objective=spec.objective,
        value_of_hour_usd=asked.value_of_hour_usd,
        budget_usd=spec.limit_usd,
        deadline_at_microseconds=asked.deadline_at_microseconds(),
        low_usd=picked.usd.low,
        expected_usd=picked.usd.expected,
        high_usd=picked.usd.high,
        low_seconds=picked.seconds.low,
        expected_seconds=picked.seconds.expected,
        high_seconds=picked.seconds.high,
        start_seconds=size.start.expected,
        after_usd=others.after.expected * hourly / SECONDS_PER_HOUR,
        after_seconds=others.after.expected,
        why=why,
        offers=tuple(
            offer(machines.get(name), name, timings[name], rows, spec)
            for name in sorted(timings, key=lambda name: name != size.machine_type)
        ),
    )


def offer(
    machine: MachineType | None, name: str, of: Timing, rows: Sequence[Row], spec: Spec
) -> PlannedOffer:
    """A machine type for the plan.

    Args:
        machine: None for pods wherever there is room.
        name: of the machine type.
        of: its step times.
        rows: of the quote.
        spec: of the run.
    """
    own = [row.candidate for row in rows if row.candidate.machine_type == name]
    first = own[0]
    place = _placed(machine) if machine is not None and name != LOCAL else {}
    return PlannedOffer(
        machine_type=name,
        price_usd_per_hour=first.price_usd_per_hour,
        software_usd_per_hour=first.software_usd_per_hour,
        min_workers=spec.fewest_workers,
        max_workers=spec.most_workers,
        basis=next((one.basis for one in own if one.allowed), first.basis),
        step_time=asdict(of.fitted.model),
        observed=tuple(
            PlannedStep(**asdict(sizes.observation(spec, k, one, 1 if name == LOCAL else k)))
            for k, one in of.measured.items()
        ),
        **place,
    )


def _placed(machine: MachineType) -> dict[str, Any]:
    """Where a worker's pod goes on a cluster, and its accelerators: as the gang's Job has them."""
    from tally.kube.template import pod_spec, worker_template

    template = worker_template(machine, "image")
    pod = pod_spec(template, secret="", subdomain="", coordinator="", prefix="")
    asked = pod["containers"][0]["resources"]["limits"]
    devices = {name: int(count) for name, count in asked.items() if "/" in name}
    device = next(iter(devices), "")
    return {
        "node_selector": pod["nodeSelector"],
        "tolerations": tuple(pod["tolerations"]),
        "accelerator": device,
        "accelerator_count": devices.get(device, 0),
    }
