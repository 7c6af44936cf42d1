"""Pods' lives to test with: shorthands for recorded ones, and made ones whose truth is known."""

import datetime
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tally.costing.nodes import Node
from tally.costing.usage import Usage
from tally.kube.podusage import pod_usage
from tally.kube.quantities import microseconds
from tally.kube.sampling import Used

SECOND = 1_000_000
CREATED = 1_795_000_000 * SECOND
NODE = Node(
    node_uid="node-uid",
    name="node-0",
    machine_type="n2-standard-4",
    provider="gke",
    region="us-central1",
    spot=False,
    start_microseconds=0,
    heartbeat_at_microseconds=2**60,
    cpu_capacity_cores=4.0,
    cpu_allocatable_cores=3.92,
    memory_capacity_bytes=2**34,
    memory_allocatable_bytes=13 * 2**30,
    accelerator="nvidia-l4",
    accelerator_capacity=1.0,
    cpu_share=0.5,
    memory_share=0.25,
    accelerator_share=0.25,
    price_usd_per_hour=0.25,
    catalogue_version="2026-11",
)


def at(pod: dict[str, Any], seconds: float) -> int:
    """So long after a pod's creation, in microseconds UTC."""
    created = microseconds(pod["metadata"]["creationTimestamp"])
    assert created is not None
    return created + round(seconds * SECOND)


def clock_time(moment: int) -> str:
    """As Kubernetes writes it: cut to whole seconds."""
    then = datetime.datetime.fromtimestamp(moment // SECOND, datetime.UTC)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


def rows_of(
    pod: dict[str, Any],
    seconds: float,
    *,
    node: Node | None = NODE,
    used: Used | None = None,
    gone: bool = False,
    before: list[Usage] | None = None,
    accelerator_clients: int = 1,
) -> list[Usage]:
    """Its rows so long after its creation."""
    return pod_usage(
        pod,
        node,
        now_microseconds=at(pod, seconds),
        used=used,
        gone=gone,
        before=before or [],
        accelerator_clients=accelerator_clients,
    )


def spans(pod: dict[str, Any], rows: list[Usage]) -> list[tuple[str, float, float | None]]:
    """Phase, start and end of rows, in seconds since the pod's creation."""
    zero = at(pod, 0)

    def seconds(moment: int | None) -> float | None:
        return None if moment is None else (moment - zero) / SECOND

    return [
        (row.phase, (row.start_microseconds - zero) / SECOND, seconds(row.end_microseconds))
        for row in rows
    ]


@dataclass(frozen=True)
class Life:
    """What really becomes of a pod, in microseconds UTC; None for what it does not come to.

    Attributes:
        runs: of its main container, the first to the last.
        sidecar_end: when its sidecar ends, which starts with the first run.
        failed: when it is declared Failed while its containers' last words are lost.
        removed: when the API server lets go of it.
    """

    created: int
    scheduled: int | None
    runs: tuple[tuple[int, int], ...]
    sidecar_end: int | None
    failed: int | None
    removed: int

    @property
    def tells_all(self) -> bool:
        """Whether the pod, as it looks last, says when each phase began and ended."""
        return self.sidecar_end is not None and len(self.runs) <= 2

    def seen(self, moment: int) -> dict[str, Any] | None:
        """The pod as the API server shows it then; before its creation None, after its removal as
        it looked last."""
        if moment < self.created:
            return None
        moment = min(moment, self.removed)
        scheduled = self.scheduled is not None and self.scheduled <= moment
        placed = self.scheduled if scheduled and self.scheduled else self.created
        conditions = [_condition("PodScheduled", scheduled, placed)]
        status: dict[str, Any] = {"phase": self._phase(moment), "conditions": conditions}
        if scheduled:
            status["startTime"] = clock_time(placed)
            status["containerStatuses"] = [self._main(moment), self._sidecar(moment)]
        if self.failed is not None and moment >= self.failed:
            conditions.append(_condition("DisruptionTarget", True, self.failed))
        return {
            "metadata": {
                "name": "a-pod",
                "namespace": "team-a",
                "uid": f"uid-{self.created}",
                "creationTimestamp": clock_time(self.created),
            },
            "spec": {
                "nodeName": "node-0" if scheduled else None,
                "restartPolicy": "OnFailure" if len(self.runs) > 1 else "Never",
                "containers": [{"name": "main"}, {"name": "wait"}],
            },
            "status": status,
        }

    def _phase(self, moment: int) -> str:
        if self.failed is not None and moment >= self.failed:
            return "Failed"
        if self.sidecar_end is not None and moment >= self.sidecar_end:
            return "Succeeded"
        return "Running" if self.runs and moment >= self.runs[0][0] else "Pending"

    def _main(self, moment: int) -> dict[str, Any]:
        begun = [run for run in self.runs if run[0] <= moment]
        ended = [run for run in begun if run[1] <= moment]
        if not begun:
            return {"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}
        if len(begun) > len(ended):
            state = {"running": {"startedAt": clock_time(begun[-1][0])}}
            return {"name": "main", "state": state, "lastState": self._ended(ended[-1:])}
        if len(ended) == len(self.runs):
            return {"name": "main", "state": self._ended(ended[-1:]),
                    "lastState": self._ended(ended[-2:-1])}  # fmt: skip
        state = {"waiting": {"reason": "CrashLoopBackOff"}}
        return {"name": "main", "state": state, "lastState": self._ended(ended[-1:])}

    def _ended(self, runs: list[tuple[int, int]]) -> dict[str, Any]:
        """The state of the only one of these runs, if there is one."""
        if not runs:
            return {}
        ((start, end),) = runs
        code = int((start, end) != self.runs[-1])
        times = {"startedAt": clock_time(start), "finishedAt": clock_time(end)}
        return {"terminated": {"exitCode": code, **times}}

    def _sidecar(self, moment: int) -> dict[str, Any]:
        if not self.runs or moment < self.runs[0][0]:
            return {"name": "wait", "state": {"waiting": {"reason": "ContainerCreating"}}}
        start = clock_time(self.runs[0][0])
        if self.sidecar_end is None or moment < self.sidecar_end:
            return {"name": "wait", "state": {"running": {"startedAt": start}}}
        finish = clock_time(self.sidecar_end)
        ended = {"exitCode": 0, "startedAt": start, "finishedAt": finish}
        return {"name": "wait", "state": {"terminated": ended}}


def _condition(kind: str, value: bool, moment: int) -> dict[str, Any]:
    return {"type": kind, "status": str(value), "lastTransitionTime": clock_time(moment)}


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Any life: never placed, never started, restarted, removed by force, failed without a word."""
    moment = CREATED + draw(st.integers(0, 3 * SECOND))
    created = moment

    def later() -> int:
        nonlocal moment
        moment += draw(st.integers(0, 90 * SECOND) | st.integers(0, SECOND))
        return moment

    kinds = ["unplaced", "unstarted", "ended", "ended", "ended", "forced", "failed"]
    kind = draw(st.sampled_from(kinds))
    if kind == "unplaced":
        return Life(created, None, (), None, None, later())
    scheduled = later()
    if kind == "unstarted":
        return Life(created, scheduled, (), None, None, later())
    runs = tuple((later(), later()) for _ in range(draw(st.integers(1, 4))))
    if kind == "ended":
        return Life(created, scheduled, runs, later(), None, later())
    cut = draw(st.integers(runs[0][0], runs[-1][1]))  # before its last run has ended
    failed = cut if kind == "failed" else None
    removed = cut + draw(st.integers(0, 60 * SECOND))
    return Life(created, scheduled, (*runs[:-1], (runs[-1][0], 2**60)), None, failed, removed)
