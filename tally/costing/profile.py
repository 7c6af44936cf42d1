"""A measurement of training steps. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Steps of one size, measured; the newest of a key, machine type and size counts.

    Attributes:
        profile_id: the same for every write of it.
        key: of what has to be the same for it to be of use: model, shape of the data, batch,
            cores, code, machine.
        machine_type: of the workers; "local" on this machine.
        workers: world size.
        made_at_microseconds: UTC.
        source: "profile", of seconds made for a quote; "run", a whole training.
        run_id, pipeline: whose training it was; run_id is "" for a profile.
        step_seconds: of one full step, steady.
        spread: standard deviation of step_seconds over parts of the measurement, as a share of it.
        document: the rest: examples_per_worker, steps, start_seconds, train_seconds, ….
    """

    profile_id: str
    key: str
    machine_type: str
    workers: int
    made_at_microseconds: int
    source: Literal["profile", "run"]
    run_id: str = ""
    pipeline: str = ""
    step_seconds: float
    spread: float
    document: Mapping[str, Any] = field(default_factory=dict)
