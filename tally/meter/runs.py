"""Runs, as far as pods tell of them: whose they are, since when, until when, how they ended. Pure.

A label is anybody's word: a run is its namespace's alone, and the same id in two is two runs.

A run begins with its first pod. It has ended when its Workflow has (`over`, see reaping.py) and no
pod of it lasts; where nothing says that, when none has been there for ten minutes: then it has
failed where the last try of one of its tasks has. A pod that comes later opens it again.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from tally.costing.runs import RunKey, RunRecord, State
from tally.kube.ended import WORKFLOW_LABEL, Run
from tally.kube.manifests import GANG
from tally.meter.known import Known, KnownPod

QUIET_MICROSECONDS = 600 * 10**6
_REMEMBERED_MICROSECONDS = 7 * 24 * 3600 * 10**6
_ABOUT_MICROSECONDS = 2 * 10**6  # an end may be told anew, to the second
_NODE_NAME = "workflows.argoproj.io/node-name"
_TRY = re.compile(r"\(\d+\)$")


@dataclass(frozen=True, slots=True)
class _Over:
    """That the cluster has a run as ended: since when that is known, how, when by its Workflow."""

    at_microseconds: int
    state: State | None
    created_microseconds: int | None
    ended_microseconds: int | None


@dataclass
class _Seen:
    """A run.

    Attributes:
        record: as the ledger has it.
        lasted_microseconds: when a pod of it was last there.
        known_microseconds: since when this meter knows it: before, nobody asked how it ended.
        lasts: a pod of it is there.
        workflow: its Workflow's name, where a pod told it.
        over: that the cluster has it as ended.
        failed: by task, of its last try, when that began and whether it failed.
        lives: by task, the uids of its pods; a retry of Kubeflow's has the same names again.
    """

    record: RunRecord
    lasted_microseconds: int
    known_microseconds: int
    lasts: bool = False
    workflow: str = ""
    over: "_Over | None" = None
    failed: dict[str, tuple[int, bool]] = field(default_factory=dict)
    lives: dict[str, set[str]] = field(default_factory=dict)


class Runs:
    """All runs of the cluster that go on, have a pod there, or have ended within a week."""

    def __init__(self, value_of_hour_usd: float = 0.0) -> None:
        """None yet.

        Args:
            value_of_hour_usd: what an hour of waiting for one is worth.
        """
        self.value_of_hour_usd = value_of_hour_usd
        self._runs: dict[RunKey, _Seen] = {}

    def recall(
        self, records: Iterable[RunRecord], now: int, there: Collection[RunKey] = ()
    ) -> None:
        """Take up what the ledger has, but for what ended long ago.

        Args:
            there: runs that still have a pod, which would begin them anew.
        """
        for record in records:
            ended = record.ended_at_microseconds
            recent = record.key in there or not _is_long_ago(record, now)
            if record.engine == "cluster" and recent:
                seen = _Seen(record, ended or record.created_at_microseconds, now)
                self._runs.setdefault(record.key, seen)

    def quiet(self) -> list[Run]:
        """Those that have not ended, as far as is known, and of which no pod lasts."""
        return [
            Run(namespace, run_id, seen.workflow)
            for (namespace, run_id), seen in self._runs.items()
            if seen.record.ended_at_microseconds is None and not seen.lasts
        ]

    def over(
        self,
        run: Run,
        state: State | None,
        at_microseconds: int,
        created_microseconds: int | None = None,
        ended_microseconds: int | None = None,
    ) -> None:
        """The cluster has a run as ended; it is written so once no pod of it lasts.

        Args:
            run: by its namespace and id; another namespace's word changes nothing.
            state: how it ended; None as its pods did.
            at_microseconds: when that was asked for: a pod that comes later is of a retry.
            created_microseconds, ended_microseconds: of its Workflow, where it says so: it is there
                before the run's first pod, and after its last.
        """
        seen = self._runs.get((run.namespace, run.id))
        if seen and not seen.record.ended_at_microseconds:
            seen.over = _Over(at_microseconds, state, created_microseconds, ended_microseconds)

    @property
    def is_closing(self) -> bool:
        """Whether a run waits for its last pod to end."""
        return any(s.over and s.record.ended_at_microseconds is None for s in self._runs.values())

    def look(self, known: Known, now: int) -> tuple[list[RunRecord], list[RunRecord]]:
        """Runs that have begun, and runs whose state has changed."""
        begun = []
        for seen in self._runs.values():
            seen.lasts = False
        pods = [pod for pod in known.pods.values() if pod.rows and pod.rows[0].run_id]
        for pod in sorted(pods, key=lambda pod: pod.rows[0].start_microseconds):
            key = pod.rows[0].run_key
            if key not in self._runs:
                record = self._begun(pod)
                self._runs[key] = _Seen(record, record.created_at_microseconds, now)
                begun.append(record)
            _see(self._runs[key], pod, now)
        changed, there = [], {pod.rows[0].run_key for pod in pods}
        for key, seen in list(self._runs.items()):
            if (record := _now(seen, now)) is not seen.record:
                seen.record = record
                changed.append(record)
            elif key not in there and _is_long_ago(record, now):
                del self._runs[key]
        return begun, changed

    def _begun(self, pod: KnownPod) -> RunRecord:
        first = pod.rows[0]
        return RunRecord(
            id=first.run_id,
            pipeline=first.pipeline,
            state="running",
            created_at_microseconds=first.start_microseconds,
            value_of_hour_usd=self.value_of_hour_usd,
            engine="cluster",
            team=first.namespace,
        )


def _is_long_ago(record: RunRecord, now: int) -> bool:
    ended = record.ended_at_microseconds
    return ended is not None and now - ended > _REMEMBERED_MICROSECONDS


def _see(seen: _Seen, pod: KnownPod, now: int) -> None:
    last = pod.rows[-1]
    stop = last.stop_microseconds if pod.has_ended else now
    seen.lasted_microseconds = max(seen.lasted_microseconds, stop)
    seen.lasts = seen.lasts or not pod.has_ended
    if seen.over and pod.rows[0].start_microseconds > seen.over.at_microseconds:
        seen.over = None
    meta = pod.object["metadata"]
    seen.workflow = seen.workflow or (meta.get("labels") or {}).get(WORKFLOW_LABEL, "")
    if not pod.object["spec"] or GANG in (meta.get("labels") or {}):
        return  # a worker's life and end are its conductor's matter
    task = _TRY.sub("", (meta.get("annotations") or {}).get(_NODE_NAME) or meta["name"])
    seen.lives.setdefault(task, set()).add(meta["uid"])
    if not pod.has_ended:
        return
    began = pod.rows[0].start_microseconds
    if began >= seen.failed.get(task, (0, False))[0]:
        seen.failed[task] = began, pod.object["status"].get("phase") == "Failed"


def _now(seen: _Seen, now: int) -> RunRecord:
    """The record as it should be; the same one where nothing has changed."""
    record = seen.record
    lives = max(map(len, seen.lives.values()), default=1)
    if lives > record.attempt:  # never fewer: a meter that began anew has not seen the first
        record = replace(record, attempt=lives)
    ended = record.ended_at_microseconds
    if ended is not None and seen.lasted_microseconds > ended + _ABOUT_MICROSECONDS:
        seen.over = None
        return replace(record, state="running", ended_at_microseconds=None)
    if ended is not None:
        return record
    quiet = now - max(seen.lasted_microseconds, seen.known_microseconds) > QUIET_MICROSECONDS
    if quiet or (seen.over and not seen.lasts):
        failed = any(failed for _, failed in seen.failed.values())
        over = seen.over or _Over(0, None, None, None)
        created = record.created_at_microseconds
        return replace(
            record,
            state=over.state or ("failed" if failed else "succeeded"),
            created_at_microseconds=min(created, over.created_microseconds or created),
            ended_at_microseconds=max(seen.lasted_microseconds, over.ended_microseconds or 0),
        )
    return record
