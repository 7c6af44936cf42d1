"""What a test itself sees of pods, by a watch of its own: the ledger must agree with it."""

import datetime
import itertools
import threading
from dataclasses import dataclass
from typing import Any

from helpers.cluster.objects import path_of
from tally.costing.usage import Usage
from tally.kube.cluster import Cluster
from tally.kube.following import follow


@dataclass
class Seen:
    """A pod's moments, in seconds UTC as Kubernetes wrote them; None where it wrote none."""

    created: float
    scheduled: float | None = None
    started: float | None = None
    ended: float | None = None


class Watched:
    """Follows all pods of a namespace from now on."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._pods: dict[str, dict[str, Any]] = {}
        self._stopped = threading.Event()
        args = (cluster, path_of("Pod", namespace), "", self._see, self._stopped)
        threading.Thread(target=follow, args=args, daemon=True).start()

    def _see(self, pod: dict[str, Any], gone: bool) -> None:
        self._pods[pod["metadata"]["uid"]] = pod

    def stop(self) -> None:
        self._stopped.set()

    def uids(self) -> set[str]:
        return set(self._pods)

    def of(self, uid: str) -> Seen:
        """What has been seen of a pod."""
        pod = self._pods[uid]
        seen = Seen(_seconds(pod["metadata"]["creationTimestamp"]))
        status = pod["status"]
        for condition in status.get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "True":
                seen.scheduled = _seconds(condition["lastTransitionTime"])
        every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        for one in status.get("containerStatuses", []):
            if one["name"] in ("main", "worker"):
                state = next(iter(one["state"].values()))
                if "startedAt" in state:
                    seen.started = _seconds(state["startedAt"])
        finishes = [one["state"].get("terminated", {}).get("finishedAt") for one in every]
        if finishes and all(finishes):
            seen.ended = max(map(_seconds, finishes))
        return seen

    def check(self, uid: str, rows: list[Usage]) -> None:
        """The rows are those of a pod that has been seen to its end, to a second, without a gap,
        nothing twice."""
        seen = self.of(uid)
        assert [row.phase for row in rows] == ["queue", "startup", "work"], rows
        bounds = [seen.created, seen.scheduled, seen.started, seen.ended]
        for row, start, end in zip(rows, bounds[:-1], bounds[1:], strict=True):
            assert start is not None
            assert end is not None
            assert row.end_microseconds is not None
            assert abs(row.start_microseconds / 1e6 - start) <= 1, (row, seen)
            assert abs(row.end_microseconds / 1e6 - end) <= 1, (row, seen)
        for row, after in itertools.pairwise(rows):
            assert row.end_microseconds == after.start_microseconds


def _seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
