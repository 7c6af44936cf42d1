"""A run as the ledger knows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["running", "succeeded", "failed", "cancelled", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run over all its attempts. The machine's price is not here: usage carries it.

    Attributes:
        id: made by submit, a UUIDv7; on a cluster Kubeflow's.
        spec: the validated parameters.
        engine: local or cluster.
        team: who pays.
        created_at_microseconds, ended_at_microseconds: UTC; the end is None while it runs.
        attempt: 1 for the first life, one more for each resume.
        owner: `pid:create_time` of the submit that runs it, "" once it has ended.
        metrics: what evaluate measured, `test_accuracy` (0 to 1) among it.
        examples_trained: examples that went into the weights, counted once each epoch.
        error: the one line that the user saw.
        value_of_hour_usd: what the user said an hour of waiting is worth, when submitting.
    """

    id: str
    pipeline: str
    state: State
    created_at_microseconds: int
    value_of_hour_usd: float
    spec: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "local"
    team: str = "local"
    ended_at_microseconds: int | None = None
    attempt: int = 1
    owner: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    examples_trained: int = 0
    error: str = ""
