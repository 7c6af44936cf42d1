"""A run as the ledger knows it, and its key: an id is a run's within one namespace only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from tally.errors import SpecError

State = Literal["running", "succeeded", "failed", "cancelled", "interrupted"]

RunKey: TypeAlias = tuple[str, str]
"""A run's namespace, "" on a machine of its own, and id. An id alone is a label on a pod, which is
anybody's word: the same in two namespaces is two runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run over all its attempts. The machine's price is not here: usage carries it.

    Attributes:
        id: made by submit, a UUIDv7; on a cluster Kubeflow's.
        spec: the validated parameters.
        engine: local or cluster.
        team: who pays: on a cluster the namespace.
        created_at_microseconds, ended_at_microseconds: UTC; the end is None while it runs.
        attempt: 1 for the first life, one more for each resume.
        owner: `pid:create_time` of the submit that runs it, "" once it has ended.
        metrics: what evaluate measured, by name.
        words: how those are read where a user's file has the task, as tally.tasks.registry keeps
            them; {} where a packaged one says it.
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
    words: Mapping[str, Any] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """The cluster's namespace whose run it is, "" for one of a machine of its own."""
        return self.team if self.engine == "cluster" else ""

    @property
    def key(self) -> RunKey:
        """What it is kept under."""
        return self.namespace, self.id


def several(run_id: str, namespaces: Iterable[str]) -> SpecError:
    """What to say where an id alone does not name one run."""
    names = ", ".join(name or "none, a machine of its own" for name in sorted(set(namespaces)))
    return SpecError(
        f"run {run_id}: expected an id of one run, got one of each of the namespaces {names}; "
        "choose one by NAMESPACE="
    )
